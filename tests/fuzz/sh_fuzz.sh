#!/usr/bin/env bash
# ctest: timeout=600
# Every fuzz target for 20,000 changed inputs, Hessian files for 2,000 since HDF5 itself is slow; each at most fifteen seconds. Needs clang.
set -euo pipefail
command -v clang >/dev/null || command -v clang-14 >/dev/null || { echo "skipped: clang is not installed"; exit 77; }
PONS_FUZZ_BUILD=$PONS_BUILD/fuzz bash "$PONS_SOURCE/jobs/fuzz.sh" all 20000 15
