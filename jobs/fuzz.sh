#!/usr/bin/env bash
# Fuzz a reader with libFuzzer under AddressSanitizer and UBSan: fuzz.sh TARGET RUNS, or fuzz.sh all RUNS.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: fuzz.sh TARGET|all [RUNS [SECONDS]]

Build tests/fuzz with clang, write seeds by Pons's own writers and run RUNS (default 20000) changed inputs, at most SECONDS
(default 0: no limit). Targets: $(cd "$PONS_ROOT/tests/fuzz" && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//' | tr '\n' ' ')
all: every target but hessian: on some damaged files HDF5 1.10 itself uses freed memory (H5Aopen), which is not Pons's to mend.
What a target crashes on is left in build/fuzz/findings. The corpus grows in build/fuzz/corpus.
TEXT
}
[ $# -ge 1 ] || { usage >&2; exit 2; }
case $1 in --help|-h) usage; exit 0 ;; esac
target=$1 runs=${2:-20000} seconds=${3:-0}

cd "$PONS_ROOT"
clang=$(command -v clang || command -v clang-14 || true)
if [ -z "$clang" ]; then
  bash jobs/install-deps.sh
  [ "$(id -u)" -eq 0 ] || die "clang and libomp-dev are missing and only root can install them"
  say "installing clang"
  env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends clang libomp-dev libclang-rt-14-dev >&2 ||
    env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends clang libomp-dev >&2
  clang=$(command -v clang)
fi
build=${PONS_FUZZ_BUILD:-build/fuzz}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { cmake -S tests/fuzz -B "$build" -G Ninja -DCMAKE_C_COMPILER="$clang" && cmake --build "$build"; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  die "the build of tests/fuzz failed"
fi

run() { # run NAME RUNS
  local name=$1 corpus=$build/corpus/$1 findings=$build/findings
  [ -x "$build/fuzz_$name" ] || die "unknown target '$name' (see --help)"
  mkdir -p "$corpus" "$findings" "$corpus.seeds"
  ASAN_OPTIONS=detect_leaks=0 PONS_FUZZ_SEEDS=$corpus.seeds "$build/fuzz_$name"
  local options=(-seed=1 -max_len=16384 -timeout=20 -rss_limit_mb=3000 -print_final_stats=0 -verbosity=0 "-artifact_prefix=$findings/$name-")
  local asan=allocator_may_return_null=1
  [ "$name" = hessian ] && asan+=:detect_leaks=0 # HDF5 and MPI keep what they allocate
  [ "$seconds" = 0 ] || options+=("-max_total_time=$seconds")
  SECONDS=0
  ASAN_OPTIONS=$asan "$build/fuzz_$name" -runs="$2" "${options[@]}" "$corpus" "$corpus.seeds" >"$log" 2>&1 || {
    grep -v '^INFO' "$log" | head -n 60 >&2
    die "$name: a finding, in $findings"
  }
  say "$name: $2 runs or $seconds s, nothing found, $SECONDS s"
}

[ "$target" = all ] || { run "$target" "$runs"; exit 0; }
for source in tests/fuzz/fuzz_*.c; do
  name=$(basename "$source" .c)
  name=${name#fuzz_}
  [ "$name" = hessian ] || run "$name" "$runs"
done
