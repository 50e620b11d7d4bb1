#!/usr/bin/env bash
# Compress on hosts without a scheduler.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: mpirun.sh HOSTFILE [PONS ARGUMENT...]

Run \`pons ARGUMENT...\` on the hosts of HOSTFILE, a line each: \`HOST slots=RANKS\`. The source tree, model and output must be
under the same path on all of them (a shared file system), and ssh must work without a password. Without arguments: the job
defined in this script. Threads per rank: \$OMP_NUM_THREADS (default: 1).

  kill -USR1 PID   of this script: exits with 99; finished blocks are on disk
A host that fails ends the job; the same command continues on the hosts that remain in HOSTFILE.
TEXT
}
case ${1:-} in
  --help|-h) usage; exit 0 ;;
  ""|-*) usage >&2; exit 2 ;;
esac
hostfile=$1
shift
[ -r "$hostfile" ] || die "$hostfile: cannot read the list of hosts"

# ---- the job when no arguments are given
job=(
  compress "$PONS_ROOT/configs/smollm2/obr-gptq.yaml"
  --model "$PONS_ROOT/models/Llama-2-7b-hf"
  --calib "$PONS_ROOT/tests/data/wikitext2-valid.txt"
  --out "$PONS_ROOT/out/llama-2-7b"
  --resume
)
[ $# -eq 0 ] || job=("$@")
options=( # of mpirun; MPIRUN_OPTIONS adds words
  --hostfile "$hostfile"
  --map-by slot
)
read -ra more <<<"${MPIRUN_OPTIONS:-}"

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
forward=() # what env.sh and the caller set reaches the other hosts, too
for name in $(compgen -e); do
  case $name in OMP_NUM_THREADS | OMPI_MCA_* | OPENBLAS_* | PONS_*) forward+=(-x "$name") ;; esac
done
exec mpirun "${options[@]}" "${more[@]}" "${forward[@]}" "$PONS_BIN" "${job[@]}"
