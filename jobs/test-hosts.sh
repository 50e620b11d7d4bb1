#!/usr/bin/env bash
# jobs/mpirun.sh over several hosts: network and host name spaces on this machine, joined by an isolated bridge.
#
#   three hosts          the bytes of one process
#   kill -USR1           mpirun.sh exits with 99; the same command continues
#   a host is lost       the job ends and continues on the remaining hosts, to the same bytes
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: test-hosts.sh [--keep]

About two minutes on two idle cores. Needs root, namespaces, iproute2 and util-linux; where it cannot run it says what is missing and
exits with 77. --keep keeps the folder with the logs.
TEXT
}
keep=0
case ${1:-} in
  "") ;;
  --help|-h) usage; exit 0 ;;
  --keep) keep=1 ;;
  *) usage >&2; exit 2 ;;
esac

skip() { say "skipped: $*"; exit 77; }
PATH=$PATH:/usr/sbin:/sbin
for program in ip unshare nsenter mpirun python3; do
  command -v $program >/dev/null || skip "$program is not installed"
done
[ "$(id -u)" = 0 ] || skip "only root can make network namespaces"
unshare --net --uts --mount true 2>/dev/null || skip "namespaces are not allowed here"
[ -x "$PONS_BIN" ] || die "$PONS_BIN is not built (jobs/build.sh release)"

# ---- hosts: ponsh1, ponsh2, ponsh3 at 10.98.7.1 to .3

HOSTS=3 network=10.98.7
work=$(mktemp -d "${TMPDIR:-/tmp}/pons-hosts.XXXXXX")

take_down() {
  local i
  for i in $(seq $HOSTS); do
    ip netns pids "ponsh$i" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "ponsh$i" 2>/dev/null || true
    umount "$work/ponsh$i.uts" 2>/dev/null || true
    rm -rf "/etc/netns/ponsh$i"
  done
  ip netns del ponsbridge 2>/dev/null || true
  if [ $keep = 1 ]; then say "logs: $work"; else rm -rf "$work"; fi
}

bring_up() {
  local i host
  ip netns add ponsbridge 2>/dev/null || skip "network namespaces are not allowed here"
  trap take_down EXIT
  ip -n ponsbridge link add bridge0 type bridge 2>/dev/null || skip "bridges are not allowed here"
  ip -n ponsbridge link set bridge0 up
  echo "127.0.0.1 localhost" >"$work/hosts"
  for i in $(seq $HOSTS); do echo "$network.$i ponsh$i" >>"$work/hosts"; done
  for i in $(seq $HOSTS); do
    host=ponsh$i
    mkdir -p "/etc/netns/$host"
    cp "$work/hosts" "/etc/netns/$host/hosts" # ip netns exec shows it as /etc/hosts
    ip netns add "$host"
    ip link add "port$i" netns ponsbridge type veth peer name eth0 netns "$host"
    ip -n ponsbridge link set "port$i" master bridge0 up
    ip -n "$host" addr add "$network.$i/24" dev eth0
    ip -n "$host" link set eth0 up
    ip -n "$host" link set lo up
    touch "$work/$host.uts"
    unshare --uts="$work/$host.uts" hostname "$host"
  done
  cat >"$work/ssh" <<AGENT
#!/bin/sh
# replaces ssh: ssh [OPTION...] HOST COMMAND...
while [ "\${1#-}" != "\$1" ]; do shift; done
host=\$1
shift
exec ip netns exec "\$host" nsenter --uts="$work/\$host.uts" -- /bin/sh -c "\$*"
AGENT
  chmod +x "$work/ssh"
}
# ---- jobs

fail() {
  say "FAILED: $*"
  tail -n 20 "$work"/*.log >&2 || true
  exit 1
}
digest() { "$PONS_BIN" inspect --digest "$1" | awk '$1 == "digest" { print $2 }'; }
journal_blocks() { cat "$1.run/journal.jsonl" 2>/dev/null | grep -c '"event":"block"' || true; }
arguments() { # NAME WINDOWS
  printf '%s\n' --quiet compress "$work/recipe.yaml" --model "$PONS_ROOT/tests/golden/models/llama-gqa" --calib "$work/text.ids" \
    --out "$work/$1" --set "calibration.windows=$2" --resume
}
host_file() { # HOST...: two ranks each
  printf '%s slots=2\n' "$@" >"$work/hostfile"
}
start() { # NAME WINDOWS: mpirun.sh on the first host, in the background; $job is the process that becomes mpirun
  local words first
  first=$(awk 'NR == 1 { print $1 }' "$work/hostfile")
  mapfile -t words < <(arguments "$1" "$2")
  {
    export MPIRUN_OPTIONS="--mca plm_rsh_agent $work/ssh --mca btl_tcp_if_include eth0 --mca oob_tcp_if_include eth0"
    exec ip netns exec "$first" nsenter --uts="$work/$first.uts" -- bash "$PONS_ROOT/jobs/mpirun.sh" "$work/hostfile" "${words[@]}"
  } >>"$work/$1.log" 2>&1 &
  job=$!
}
finish() { # SECONDS; exit code of the job to $code
  local i
  code=0
  for i in $(seq $((10 * $1))); do
    kill -0 $job 2>/dev/null || break
    sleep 0.1
  done
  kill -0 $job 2>/dev/null && { kill -9 $job; fail "the job hangs"; }
  wait $job || code=$?
}
wait_for_blocks() { # NAME COUNT
  local i
  for i in $(seq 1200); do
    [ "$(journal_blocks "$work/$1")" -lt "$2" ] || return 0
    kill -0 $job 2>/dev/null || fail "$1: the job ended"
    sleep 0.1
  done
  fail "$1: no $2 blocks"
}

printf 'method: obr_gptq\ncompute: fp32\ncalibration: {windows: 8, length: 256}\ncheckpoint: {blocks: 1}\n' >"$work/recipe.yaml"
python3 -c 'print(*((7 * i * i + i) % 320 for i in range(20000)))' >"$work/text.ids"
bring_up

few=16
mapfile -t words < <(arguments alone $few)
OMP_NUM_THREADS=1 "$PONS_BIN" "${words[@]}" >/dev/null
host_file ponsh1 ponsh2 ponsh3
start three $few
finish 120
[ $code = 0 ] || fail "three hosts: exit code $code"
[ "$(digest "$work/three")" = "$(digest "$work/alone")" ] || fail "three hosts: another model"
say "three hosts, two ranks each: the bytes of one process"

# A number of windows with which each of the three blocks takes ten seconds or more on this machine.
start_time=$(date +%s%N)
mapfile -t words < <(arguments probe 64)
OMP_NUM_THREADS=1 "$PONS_BIN" "${words[@]}" >/dev/null
many=$((30000000000 * 2 * 64 / ($(date +%s%N) - start_time) + 64))
mapfile -t words < <(arguments whole $many)
OMP_NUM_THREADS=1 "$PONS_BIN" "${words[@]}" >/dev/null
expected=$(digest "$work/whole")

start stopped $many
wait_for_blocks stopped 1
# mpirun forwards the signal to every rank
kill -USR1 $job
finish 60
[ $code = 99 ] || fail "kill -USR1: exit code $code, not 99"
[ ! -e "$work/stopped" ] || fail "kill -USR1: the job was done before"
start stopped $many
finish 300
[ $code = 0 ] || fail "after kill -USR1: exit code $code"
[ "$(digest "$work/stopped")" = "$expected" ] || fail "after kill -USR1: another model"
say "kill -USR1: exit code 99, then to the same bytes"

start lost $many
wait_for_blocks lost 1
ip netns pids ponsh3 | xargs -r kill -9
finish 60
[ $code != 0 ] || fail "a host was lost: the job ends as if nothing were"
[ ! -e "$work/lost" ] || fail "a host was lost: the job was done before"
host_file ponsh1 ponsh2
start lost $many
finish 300
[ $code = 0 ] || fail "two hosts of three: exit code $code"
[ "$(digest "$work/lost")" = "$expected" ] || fail "two hosts of three: another model"
say "ponsh3 lost: the job ended and continued on two hosts to the same bytes"
