# Sourced by tests that drive the program. $PONS_BIN is the program, $scratch a folder that disappears at the end.

set -uo pipefail
[ -x "${PONS_BIN:-}" ] || { echo "skipped: the program is not built"; exit 77; }
scratch=$(mktemp -d)
failures=0
trap 'rm -rf "$scratch"' EXIT

fail() { printf 'FAILED: %s\n' "$*"; failures=$((failures + 1)); }

# Last line of every test.
finish() {
  [ $failures = 0 ] && exit 0
  printf '%d checks failed\n' $failures
  exit 1
}

# on RANKS ARGUMENT...: run the program; its output is left in $scratch/out and $scratch/err.
on() {
  local ranks=$1
  shift
  if [ "$ranks" = 1 ]; then
    timeout 180 "$PONS_BIN" "$@" >"$scratch/out" 2>"$scratch/err"
  else
    timeout 180 mpirun -n "$ranks" "$PONS_BIN" "$@" >"$scratch/out" 2>"$scratch/err"
  fi
}

# accepts ARGUMENT...: succeeds and keeps stderr clean with one rank and with three.
accepts() {
  local ranks code
  for ranks in 1 3; do
    on $ranks "$@"
    code=$?
    [ $code = 0 ] || fail "pons $* (ranks = $ranks): exit code $code: $(cat "$scratch/err")"
  done
}

# refuses CODE PATTERN ARGUMENT...: with one rank and with three, within seconds, exactly one line of stderr starts with
# "pons: ", it matches PATTERN (grep -E), nothing is on stdout and the exit code is CODE (a regular expression).
refuses() {
  local code=$1 pattern=$2 ranks got lines
  shift 2
  for ranks in 1 3; do
    SECONDS=0
    on $ranks "$@"
    got=$?
    [ $SECONDS -lt 60 ] || fail "pons $* (ranks = $ranks): took $SECONDS s to refuse"
    [[ $got =~ ^($code)$ ]] || fail "pons $* (ranks = $ranks): exit code $got, not $code: $(cat "$scratch/err")"
    lines=$(grep -c '^pons: ' "$scratch/err")
    [ "$lines" = 1 ] || fail "pons $* (ranks = $ranks): $lines lines start with 'pons: ': $(cat "$scratch/err")"
    grep '^pons: ' "$scratch/err" | grep -qE -e "$pattern" ||
      fail "pons $* (ranks = $ranks): no '$pattern' in: $(cat "$scratch/err")"
    [ -s "$scratch/out" ] && fail "pons $* (ranks = $ranks): prints on stdout: $(head -n 3 "$scratch/out")"
  done
  return 0
}
