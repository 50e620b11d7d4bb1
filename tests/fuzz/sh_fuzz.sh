#!/usr/bin/env bash
# ctest: timeout=600
# Every fuzz target but Hessian files (see fuzz.sh) for 20,000 changed inputs; each at most fifteen seconds. Needs clang.
set -euo pipefail
command -v clang >/dev/null || command -v clang-14 >/dev/null || { echo "skipped: clang is not installed"; exit 77; }
PONS_FUZZ_BUILD=$PONS_BUILD/fuzz bash "$PONS_SOURCE/jobs/fuzz.sh" all 20000 15
