#!/usr/bin/env bash
# Memory errors, leaks and data races of the main job on two ranks: a run that is stopped and resumed, one that fails, one that
# reuses Hessians; under valgrind, under AddressSanitizer, LeakSanitizer and UBSan, and under ThreadSanitizer.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: memcheck.sh [valgrind] [asan] [tsan]

Build the program for each tool (build/memcheck for valgrind: plain x86-64; build/memcheck-asan; build/memcheck-tsan) and run the
jobs on a small model. Without arguments: all three. One OpenMP thread per rank: ThreadSanitizer does not know gcc's OpenMP; it
checks the background threads. Known reports of Open MPI are in tests/support/{valgrind,lsan,tsan}.supp.
Exit code 0: nothing found.
TEXT
}
case ${1:-} in --help | -h) usage; exit 0 ;; esac
[ $# -gt 0 ] || set -- valgrind asan tsan

cd "$PONS_ROOT"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for ((i = 0; i < 300; i++)); do echo $(((7 * i * i + i) % 320)); done >"$scratch/text.ids"
cat >"$scratch/recipe.yaml" <<YAML
hessians: keep
wave: 3
calibration: {windows: 3, length: 16}
checkpoint: {blocks: 1, grace: 300}
evaluate: {text: $scratch/text.ids, windows: 3, length: 16}
YAML
export OMP_NUM_THREADS=1
failures=0

# job CODE LABEL ARGUMENT...: the program under $tool on two ranks exits with this code, and $tool reports nothing.
job() {
  local expected=$1 label=$2 code=0
  shift 2
  mpirun -n 2 "${passed[@]}" "${tool[@]}" --quiet compress "$scratch/recipe.yaml" --model tests/golden/models/llama-gqa \
    --calib "$scratch/text.ids" "$@" >"$scratch/out" 2>"$scratch/err" || code=$?
  if [ $code != "$expected" ] || grep -qE 'ERROR: |WARNING: ThreadSanitizer|runtime error|definitely lost' "$scratch/err"; then
    say "$label: exit code $code, expected $expected"
    cat "$scratch/err" >&2
    failures=$((failures + 1))
  else
    say "$label: clean"
  fi
}
jobs_of() { # NAME
  local out=$scratch/$1
  PONS_FAULT=block.stop:1:6 job 99 "$1: stopped" --out "$out" --set wave=1
  job 0 "$1: resumed" --out "$out" --set wave=1 --resume
  PONS_FAULT=hessians.write:1:2 job 6 "$1: failed" --out "$out-failed"
  job 0 "$1: a wave of all blocks" --out "$out-wave"
  job 0 "$1: its Hessians reused" --out "$out-reused" --set hessians=discard --set method=sparsegpt_gptq --hessians "$out-wave.run"
}

for kind; do
  case $kind in
  valgrind)
    cmake -S . -B build/memcheck -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g" -DPONS_NATIVE=OFF \
      -DPONS_TESTS=OFF >/dev/null
    cmake --build build/memcheck --target pons >/dev/null
    passed=(-x PONS_FAULT)
    tool=(valgrind -q --num-callers=40 --error-exitcode=42 --leak-check=full --show-leak-kinds=definite
      --errors-for-leak-kinds=definite --suppressions=/usr/share/openmpi/openmpi-valgrind.supp
      "--suppressions=$PONS_ROOT/tests/support/valgrind.supp" build/memcheck/pons)
    ;;
  asan)
    cmake -S . -B build/memcheck-asan -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g" -DPONS_SANITIZE=ON \
      -DPONS_TESTS=OFF >/dev/null
    cmake --build build/memcheck-asan --target pons >/dev/null
    passed=(-x PONS_FAULT -x ASAN_OPTIONS=detect_leaks=1:fast_unwind_on_malloc=0
      -x "LSAN_OPTIONS=suppressions=$PONS_ROOT/tests/support/lsan.supp:print_suppressions=0"
      -x UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1)
    tool=(build/memcheck-asan/pons)
    ;;
  tsan)
    cmake -S . -B build/memcheck-tsan -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g -fsanitize=thread" \
      -DPONS_TESTS=OFF >/dev/null
    cmake --build build/memcheck-tsan --target pons >/dev/null
    passed=(-x PONS_FAULT -x "TSAN_OPTIONS=suppressions=$PONS_ROOT/tests/support/tsan.supp:exitcode=42")
    tool=(build/memcheck-tsan/pons)
    ;;
  *) usage >&2; exit 2 ;;
  esac
  jobs_of "$kind"
done
[ $failures = 0 ] || die "$failures jobs are not clean"
