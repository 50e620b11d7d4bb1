#!/usr/bin/env bash
# kill.sh N SEED: kill a random rank of three at a random instant until that was done N times, each time resume with a random
# number of ranks and compare every file of the output with an uninterrupted run. Needs $PONS_BIN, $PONS_SOURCE, $PONS_FIXTURES (ctest and jobs/test.sh set them).
. "$PONS_SOURCE/tests/fault/fault.sh"
runs=${1:?usage: kill.sh N SEED}
RANDOM=${2:?usage: kill.sh N SEED}

# live OUT: process numbers of the ranks of that job. The launcher starts them in order, so that these rise with the rank.
live() {
  pgrep -f -- "--out $1 --json" | while read -r pid; do
    [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$PONS_BIN")" ] && echo "$pid"
  done | sort -n
}

SECONDS=0
start=$(date +%s%N)
compress 3 "$scratch/timed" || fail "a run to measure its time: $(cat "$scratch/err")"
span=$((($(date +%s%N) - start) / 1000000)) # ms of a whole run
killed=0 finished=0 stuck=0
for ((i = 0; killed < runs && i < 4 * runs; i++)); do
  out=$scratch/out$i
  rank=$((RANDOM % 3)) delay=$(((RANDOM * 32768 + RANDOM) % span)) ranks=$((1 + RANDOM % 4))
  began=$SECONDS
  compress 3 "$out" &
  job=$!
  sleep "$((delay / 1000)).$(printf %03d $((delay % 1000)))"
  victim=$(live "$out" | sed -n "$((rank + 1))p") hit=0
  [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null && hit=1
  # With all ranks gone, Open MPI's launcher may wait for itself for ever (PMIx_server_finalize); a rank that hangs
  # meets the time limit instead.
  alone=0
  while kill -0 $job 2>/dev/null && [ $alone -lt 150 ]; do
    [ -n "$(live "$out")" ] && alone=0 || alone=$((alone + 1))
    sleep 0.1
  done
  [ $alone -lt 150 ] || { stuck=$((stuck + 1)); pkill -9 -f -- "--out $out --json"; }
  wait $job
  code=$?
  label="run $i (rank $rank killed after $delay of $span ms)"
  [ $alone -lt 150 ] || [ $hit = 1 ] || fail "$label: nobody was killed, and the launcher does not end"
  if [ $code = 0 ]; then # too late: the machine has become faster than it was when it was measured
    finished=$((finished + 1))
    span=$((delay > 200 ? delay : 200))
  else
    killed=$((killed + 1))
    span=$((span + span / 10))
  fi
  # 137 says that a rank was killed; so does 139 when Open MPI's launcher, having lost it, trips over its own end.
  case $code in
    0 | 137) ;;
    139) grep -q 'exited on signal 9' "$scratch/err" || fail "$label: exit code $code: $(cat "$scratch/err")" ;;
    *) fail "$label: exit code $code: $(cat "$scratch/err")" ;;
  esac
  [ $((SECONDS - began)) -lt 55 ] || fail "$label: the other ranks hung"
  resumes "$label" $ranks "$out"
done
[ $killed = "$runs" ] || fail "only $killed of $i runs were killed"
echo "runs = $i, killed = $killed, finished before = $finished, launcher stuck after its ranks had ended = $stuck, different or hung = $failures, seconds = $SECONDS"
finish
