#!/usr/bin/env bash
# All 210 linears of SmolLM2: the first 64 rows of each.
# ctest: label=slow timeout=7200
. "$PONS_SOURCE/tests/obr/layers.sh"
bounds 210 --sample 64
finish
