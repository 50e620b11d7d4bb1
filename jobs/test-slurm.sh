#!/usr/bin/env bash
# The batch scripts on a real Slurm: controller and four nodes on this machine's loopback, real sbatch, srun and scancel.
#
#   two and four nodes       the job finishes, with the bytes of a run without Slurm
#   a time limit             the job is stopped before it, requeued, finishes with the same bytes
#   a node is powered off    likewise
#   a sweep                  array jobs on the Hessians of another job give the bytes of runs without them
#   a table of the paper     rows and report; with shared Hessians, the bytes of rows with their own
#   scancel                  leaves a state directory that a later run finishes, with the same bytes
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: test-slurm.sh [--keep] [CASE...]

CASE: nodes, sweep, paper, limit, poweroff, cancel (default: all; about ten minutes on two idle cores). --keep keeps the folder with
Slurm's and the jobs' logs. Needs root, namespaces, and Debian's slurm-wlm and munge (apt-get install slurm-wlm munge);
where it cannot run it says what is missing and exits with 77.
TEXT
}
keep=0 cases=()
while [ $# -gt 0 ]; do
  case $1 in
    --help|-h) usage; exit 0 ;;
    --keep) keep=1 ;;
    nodes|sweep|paper|limit|poweroff|cancel) cases+=("$1") ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#cases[@]} -gt 0 ] || cases=(nodes sweep paper limit poweroff cancel)

skip() { say "skipped: $*"; exit 77; }
PATH=$PATH:/usr/sbin:/sbin
for program in slurmctld slurmd srun sbatch scancel scontrol munged unshare python3; do
  command -v $program >/dev/null || skip "$program is not installed (apt-get install slurm-wlm munge)"
done
[ "$(id -u)" = 0 ] || skip "only root can start slurmd"
unshare --uts true 2>/dev/null || skip "namespaces are not allowed here"
[ -x "$PONS_BIN" ] || die "$PONS_BIN is not built (jobs/build.sh release)"

cd "$PONS_ROOT" # the batch scripts are submitted from there

# ---- a cluster

NODES=4
cluster=$(mktemp -d "${TMPDIR:-/tmp}/pons-slurm.XXXXXX")
export SLURM_CONF=$cluster/slurm.conf

write_config() {
  cat <<CONF
ClusterName=pons
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# short-lived credentials let a requeued job start after seconds instead of minutes
AuthInfo=socket=$cluster/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$cluster/state
SlurmdSpoolDir=$cluster/spool.%n
TmpFS=$cluster/tmp.%n
SlurmctldPidFile=$cluster/slurmctld.pid
SlurmdPidFile=$cluster/slurmd.%n.pid
SlurmctldLogFile=$cluster/slurmctld.log
SlurmdLogFile=$cluster/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=pmix
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
JobRequeue=1
ReturnToService=2
KillWait=20
KillOnBadExit=1
OverTimeLimit=0
MinJobAge=3600
SlurmdTimeout=10
InactiveLimit=0
CONF
  local i
  for i in $(seq $NODES); do
    echo "NodeName=n$i NodeHostname=n$i NodeAddr=127.0.0.1 Port=$((26900 + i)) CPUs=2 RealMemory=4000 State=UNKNOWN"
  done
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

# A node has a host name of its own: Open MPI's shared memory segments are named after it.
boot() { # NODE; what a reboot clears is gone, too
  rm -rf "$cluster/tmp.$1"/* "$cluster/spool.$1"/stepd.* "$cluster/spool.$1"/pmix.*
  unshare --uts sh -c "hostname $1; exec slurmd -N $1"
}
power_off() { # NODE: slurmd, its step daemons, every rank there
  local own namespace process
  own=$(readlink /proc/self/ns/uts)
  namespace=$(readlink "/proc/$(cat "$cluster/slurmd.$1.pid" 2>/dev/null)/ns/uts") || return 1
  [ "$namespace" != "$own" ] || return 1 # never the machine itself
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/ns/uts" 2>/dev/null)" != "$namespace" ] || kill -9 "${process#/proc/}" 2>/dev/null || true
  done
}
stop_cluster() {
  local file i
  for i in $(seq $NODES); do power_off "n$i" || true; done
  for file in "$cluster/slurmctld.pid" "$cluster/munged.pid"; do
    [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null || true
  done
  sleep 1
  if [ $keep = 1 ]; then say "logs: $cluster"; else rm -rf "$cluster"; fi
}
trap stop_cluster EXIT

start_cluster() {
  local i
  mkdir -p "$cluster/state"
  head -c 128 /dev/urandom >"$cluster/munge.key"
  chmod 400 "$cluster/munge.key"
  munged --force --key-file="$cluster/munge.key" --socket="$cluster/munge.sock" --pid-file="$cluster/munged.pid" \
    --log-file="$cluster/munged.log" --seed-file="$cluster/munge.seed"
  write_config >"$SLURM_CONF"
  slurmctld
  for i in $(seq $NODES); do
    mkdir -p "$cluster/spool.n$i" "$cluster/tmp.n$i"
    boot "n$i"
  done
  for i in $(seq 120); do
    [ "$(sinfo -h -o %T 2>/dev/null | sort -u)" != idle ] || return 0
    sleep 0.25
  done
  tail -n 5 "$cluster"/slurm*.log >&2
  die "the nodes did not come up"
}

# ---- jobs

field() { scontrol -o show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
journal_blocks() { cat "$1.run/journal.jsonl" 2>/dev/null | grep -c '"event":"block"' || true; }
fail() {
  say "FAILED: $*"
  tail -n 15 "$cluster"/job-*.log >&2 || true
  exit 1
}
wait_for() { # SECONDS WHAT COMMAND...
  local limit=$1 what=$2
  shift 2
  SECONDS=0
  until "$@"; do
    [ $SECONDS -lt "$limit" ] || fail "$what: not after $limit s; squeue: $(squeue -h)"
    sleep 0.5
  done
}
state_is() { [[ $(field "$1" JobState) =~ ^($2)$ ]]; }
has_ended() { state_is "$1" "COMPLETED|FAILED|TIMEOUT|CANCELLED|NODE_FAIL|OUT_OF_MEMORY"; }
has_blocks() { [ "$(journal_blocks "$1")" -ge "$2" ]; }
was_requeued() { [ "$(field "$1" Restarts)" != 0 ]; }
no_jobs() { ! squeue -h 2>/dev/null | grep -q .; }
is_gone() { ! squeue -h -j "$1" 2>/dev/null | grep -q .; }

batch() { # NAME SCRIPT SBATCH_ARGUMENT...: with OUT and OPTIONS of the caller
  local name=$1 script=$2
  shift 2
  RECIPE=$cluster/recipe.yaml MODEL=$cluster/model CALIB=$cluster/text.ids \
    sbatch --parsable --ntasks-per-node=1 --cpus-per-task=1 --output="$cluster/job-$name.log" "$@" "$PONS_ROOT/jobs/$script"
}
submit() { # NAME WINDOWS SBATCH_ARGUMENT...
  OUT=$cluster/$1 OPTIONS="--set calibration.windows=$2" batch "$1" compress.sbatch "${@:3}"
}
finished_alike() { # NAME JOB EXPECTED
  wait_for 600 "$1 ends" has_ended "$2"
  state_is "$2" COMPLETED || fail "$1: $(field "$2" JobState)"
  [ "$(digest "$cluster/$1")" = "$3" ] || fail "$1: another model"
}
digest() { "$PONS_BIN" inspect --digest "$1" | awk '$1 == "digest" { print $2 }'; }
direct() { # NAME WINDOWS ARGUMENT...: without Slurm, on one rank
  local name=$1 windows=$2
  shift 2
  OMP_NUM_THREADS=1 "$PONS_BIN" --quiet compress "$cluster/recipe.yaml" --model "$cluster/model" --calib "$cluster/text.ids" \
    --out "$cluster/$name" --set "calibration.windows=$windows" "$@" >/dev/null
}

# The small test model with repeated blocks: many short blocks, so that a signal arrives in the middle of the job.
make_inputs() {
  PYTHONPATH=$PONS_ROOT/tests/support python3 - "$PONS_ROOT/tests/golden/models/llama-gqa" "$cluster" <<'PY'
import glob, json, os, sys
import safetensors
source, cluster = sys.argv[1:]
os.mkdir(cluster + "/model")
config = json.load(open(source + "/config.json"))
blocks = config["num_hidden_layers"]
config["num_hidden_layers"] = 4 * blocks
json.dump(config, open(cluster + "/model/config.json", "w"))
tensors = {}
for file in glob.glob(source + "/*-of-*.safetensors"):
    for name, tensor in safetensors.load(file).items():
        part = name.split(".")
        if part[1] != "layers":
            tensors[name] = tensor
            continue
        for copy in range(4):
            tensors[".".join(part[:2] + [str(int(part[2]) + copy * blocks)] + part[3:])] = tensor
safetensors.save(cluster + "/model/model.safetensors", tensors)
open(cluster + "/text.ids", "w").write(" ".join(str((7 * i * i + i) % 320) for i in range(20000)))
open(cluster + "/recipe.yaml", "w").write(
    "method: obr_gptq\ncompute: fp32\ncalibration: {windows: 8, length: 256}\ncheckpoint: {blocks: 2}\n")
PY
}

# A number of windows with which a job on two nodes takes about this many seconds on this machine.
windows_for() { # SECONDS
  local start
  rm -rf "$cluster/probe" "$cluster/probe.run"
  start=$(date +%s%N)
  direct probe 32
  echo $(($1 * 1500000000 * 32 / ($(date +%s%N) - start) + 8))
}

# ---- cases

case_nodes() {
  local expected two four
  direct alone 16
  expected=$(digest "$cluster/alone")
  two=$(submit two 16 --nodes=2)
  four=$(submit four 16 --nodes=4)
  finished_alike two "$two" "$expected"
  finished_alike four "$four" "$expected"
  say "nodes: two and four nodes give the bytes of one process"
}

case_sweep() {
  local first job
  mkdir "$cluster/sweep"
  first=$(OUT=$cluster/sweep/capture OPTIONS="--set hessians=keep --set wave=4096" batch capture compress.sbatch --nodes=2)
  job=$(OUT=$cluster/sweep batch sweep-%a sweep.sbatch --nodes=2 --array=0,4 --dependency="afterok:$first" --kill-on-invalid-dep=yes)
  direct sparse 8 --set wave=4096 --set prune.sparsity=0.3
  direct pattern 8 --set wave=4096 --set prune.pattern=2:4
  finished_alike sweep/sparsity-0.3 "${job}_0" "$(digest "$cluster/sparse")"
  finished_alike sweep/two-of-four "${job}_4" "$(digest "$cluster/pattern")"
  grep -q . "$cluster/sweep/capture.run/hessians/"* || fail "sweep: no Hessians"
  say "sweep: an array on the Hessians of one job gives the bytes of runs with their own"
}

# A small model replaces Llama2-7B; the report exists when the last job has ended.
case_paper() {
  local work=$cluster/paper row
  mkdir -p "$work/models" "$work/wikitext2" "$work/tasks"
  cp -r tests/golden/models/mistral-headdim "$work/models/Llama2-7B"
  cp tests/golden/tasks/tokenizer.json "$work/models/Llama2-7B"
  cp tests/golden/tasks/winogrande.jsonl "$work/tasks"
  head -n 200 tests/data/wikitext2-valid.txt | tee "$work/wikitext2/wiki.train.raw" >"$work/wikitext2/wiki.test.raw"
  table() { # what paper.sbatch is told, but for where it works
    env "$@" OMP_NUM_THREADS=1 PONS_PAPER="$work" SBATCH_OUTPUT="$cluster/job-paper-%A-%a.log" SBATCH_EXPORT=ALL \
      PONS_OPTIONS="--set calibration.windows=4 --set calibration.length=64 --set evaluate.windows=1 --set evaluate.length=64" \
      bash jobs/paper.sbatch Table1_QuaRot Llama2-7B >>"$cluster/job-paper.log" 2>&1 || fail "paper: paper.sbatch $*"
  }
  ends() { # REPORT: it is there, beside the printed numbers
    wait_for 300 "paper ends" no_jobs
    [ "$(grep -c '^| Table1_QuaRot Llama2-7B' "$work/runs/Table1_QuaRot.md")" = 15 ] || fail "paper: not five rows in each of three tables"
    grep -q '<br>61.48 (' "$work/runs/Table1_QuaRot.md" || fail "paper: no WinoGrande beside the printed 61.48"
    grep -q '(not finished)' "$work/runs/Table1_QuaRot.md" && fail "paper: a row is not finished"
    mv "$work/runs" "$1"
  }
  table
  ends "$cluster/rows"
  table PONS_SHARE=1
  ends "$cluster/shared"
  table PONS_LOCAL=1 PONS_RANKS=1
  ends "$cluster/local"
  for row in "$cluster"/local/Table1_QuaRot/Llama2-7B/*.run; do
    row=Table1_QuaRot/Llama2-7B/$(basename "$row" .run)
    [ "$(digest "$cluster/rows/$row")" = "$(digest "$cluster/local/$row")" ] || fail "paper: $row is another model than without Slurm"
  done
  row=Table1_QuaRot/Llama2-7B/obr-rtn-4-4-4
  "$PONS_BIN" --quiet compress "configs/paper/$row.yaml" --model "$work/models/Llama2-7B" --calib "$work/wikitext2/wiki.train.raw" --out "$cluster/own" \
    --set wave=4096 --set compat=corrected --set calibration.windows=4 --set calibration.length=64 --set evaluate.text= >/dev/null
  [ "$(digest "$cluster/shared/$row")" = "$(digest "$cluster/own")" ] || fail "paper: other Hessians than its own"
  [ "$(digest "$cluster/shared/$row")" != "$(digest "$cluster/rows/$row")" ] || fail "paper: PONS_SHARE changes nothing"
  say "paper: a table's rows and its report, each calibrated, and all from one row's Hessians"
}

case_limit() {
  local windows job
  windows=$(windows_for 80)
  while :; do
    rm -rf "$cluster/limit"*
    # With a limit of a minute Slurm sends the signal after 20 to 50 seconds.
    job=$(submit limit "$windows" --nodes=2 --time=1 --signal=USR1@10)
    wait_for 900 "limit ends" has_ended "$job"
    [ "$(field "$job" Restarts)" = 0 ] && state_is "$job" COMPLETED || break
    windows=$((2 * windows)) # it was done within the minute
  done
  direct unlimited "$windows"
  finished_alike limit "$job" "$(digest "$cluster/unlimited")"
  say "limit: requeued $(field "$job" Restarts) times, the same bytes"
}

case_poweroff() {
  local windows job node
  windows=$(windows_for 30)
  job=$(submit poweroff "$windows" --nodes=2)
  wait_for 120 "poweroff: two blocks" has_blocks "$cluster/poweroff" 2
  node=$(scontrol show hostnames "$(field "$job" NodeList)" | tail -n 1)
  power_off "$node" || fail "poweroff: $node is not running apart"
  wait_for 120 "poweroff: requeued" was_requeued "$job"
  boot "$node"
  direct powered "$windows"
  finished_alike poweroff "$job" "$(digest "$cluster/powered")"
  [ "$(field "$job" Restarts)" != 0 ] || fail "poweroff: the job was not requeued"
  say "poweroff: $node went down, requeued $(field "$job" Restarts) times, the same bytes"
}

case_cancel() {
  local windows job blocks
  windows=$(windows_for 30)
  job=$(submit cancel "$windows" --nodes=2)
  wait_for 120 "cancel: two blocks" has_blocks "$cluster/cancel" 2
  scancel "$job"
  wait_for 60 "cancel ends" state_is "$job" CANCELLED
  wait_for 60 "cancel: its ranks are gone" is_gone "$job"
  [ ! -e "$cluster/cancel" ] || fail "cancel: the job was done before"
  blocks=$(journal_blocks "$cluster/cancel")
  direct cancel "$windows" --resume
  direct whole "$windows"
  [ "$(digest "$cluster/cancel")" = "$(digest "$cluster/whole")" ] || fail "cancel: another model"
  say "cancel: $blocks of 12 blocks were finished, the rest came later, the same bytes"
}

make_inputs
start_cluster
for name in "${cases[@]}"; do
  rm -rf "$cluster/probe"*
  "case_$name"
done
