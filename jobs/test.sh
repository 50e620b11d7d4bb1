#!/usr/bin/env bash
# Build and run every test; ends with ctest's summary.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: test.sh [--slow] [--no-asan] [CTEST ARGUMENT...]

Build the release preset with warnings as errors, fetch the model that the tests of the whole program use, and run all
tests; before that, the unit tests, and the MPI tests on one and two ranks, under AddressSanitizer and UBSan.

  --slow     also tests labelled slow (an hour and more)
  --no-asan  without the sanitizer build
TEXT
}

asan=1 arguments=(-LE slow)
while [ $# -gt 0 ]; do
  case $1 in
    --slow) arguments=() ;;
    --no-asan) asan=0 ;;
    --help|-h) usage; exit 0 ;;
    *) break ;;
  esac
  shift
done

cd "$PONS_ROOT"
bash jobs/install-deps.sh
PONS_SMOLLM2=${PONS_SMOLLM2:-$(bash jobs/fetch-smollm2.sh "$PONS_WORK/smollm2")}
export PONS_SMOLLM2
status=0
if [ $asan = 1 ]; then
  bash jobs/build.sh asan
  ctest --test-dir build/asan -L unit -j 2 --output-on-failure || status=$?
  ctest --test-dir build/asan -L mpi -R '\.n[12]$' -j 2 --output-on-failure || status=$?
  [ $status = 0 ] || say "tests failed under the sanitizers (above); continuing with the release build"
fi
bash jobs/build.sh release -DPONS_WERROR=ON
ctest --test-dir build/release -j 2 --output-on-failure "${arguments[@]}" "$@" || status=$?
exit $status
