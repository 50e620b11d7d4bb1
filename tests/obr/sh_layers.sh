#!/usr/bin/env bash
# 30 linears of SmolLM2, one of each block, of all kinds: 16 rows of each.
# ctest: timeout=900
. "$PONS_SOURCE/tests/obr/layers.sh"
bounds 30 --one-per-block --sample 16
finish
