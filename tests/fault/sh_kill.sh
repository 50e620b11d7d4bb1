#!/usr/bin/env bash
# Ten ranks killed at random instants; each run resumed to the same bytes.
# ctest: timeout=600
exec bash "$PONS_SOURCE/tests/fault/kill.sh" 10 1
