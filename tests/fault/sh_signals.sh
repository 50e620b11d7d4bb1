#!/usr/bin/env bash
# SIGUSR1 to the launcher, as a scheduler sends it, and SIGTERM to one rank: every rank leaves with the code that asks to be
# requeued, and the run resumes to the same bytes. A rank that cannot leave does not keep the job beyond the grace time.
# ctest: timeout=600
. "$PONS_SOURCE/tests/fault/fault.sh"

ranks_of() { # OUT: process numbers of the ranks that work on it
  pgrep -f -- "--out $1 --json" | while read -r pid; do
    [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$PONS_BIN")" ] && echo "$pid"
  done | sort -n
}
wait_for() { # FILE: until it is there, ten seconds at most
  for _ in $(seq 200); do [ -e "$1" ] && return; sleep 0.05; done
  fail "$1 did not appear"
}
begin() { # OUT ARGUMENT...: three ranks, in the background, until RUN is begun
  compress 3 "$@" &
  job=$!
  wait_for "$1.run/journal.jsonl"
}
ended() { # LABEL PATTERN
  wait $job
  local code=$?
  [ $code = 99 ] || fail "$1: exit code $code, not 99: $(cat "$scratch/err")"
  grep -qE "^pons: .*$2" "$scratch/err" || fail "$1: $(cat "$scratch/err")"
}

begin "$scratch/usr1"
kill -USR1 "$(pgrep -f -- "^mpirun .*--out $scratch/usr1 ")"
ended SIGUSR1 'stopped by SIGUSR1'
resumes SIGUSR1 2 "$scratch/usr1"

begin "$scratch/term"
kill -TERM "$(ranks_of "$scratch/term" | sed -n 2p)"
ended SIGTERM 'stopped by SIGTERM'
resumes SIGTERM 4 "$scratch/term"

begin "$scratch/stuck" --set checkpoint.grace=1
kill -STOP "$(ranks_of "$scratch/stuck" | sed -n 3p)"
SECONDS=0
kill -USR1 "$(ranks_of "$scratch/stuck" | sed -n 1p)"
ended 'a rank that is stuck' 'the grace time is over'
[ $SECONDS -lt 10 ] || fail "a rank that is stuck: the job ended after $SECONDS s"
resumes 'a rank that is stuck' 3 "$scratch/stuck"

# Messages that nobody reads any more: a reason to stop for one rank, not for one among several.
unread() { # RANKS OUT
  timeout -s KILL 60 mpirun -n "$1" bash -c 'exec "$0" "$@" 2> >(exec true)' "$PONS_BIN" compress "$scratch/recipe.yaml" \
    --model "$model" --calib "$scratch/text.ids" --out "$2" --json >"$scratch/out" 2>"$scratch/err"
}
unread 3 "$scratch/unread" || fail "messages that nobody reads: exit code $?: $(cat "$scratch/err")"
[ "$(report)" = "$expected" ] || fail "messages that nobody reads: reports $(report), expected $expected"
unread 1 "$scratch/pipe"
code=$?
[ $code = 141 ] || fail "one rank, messages that nobody reads: exit code $code, not that of SIGPIPE"
finish
