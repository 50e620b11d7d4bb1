# shellcheck shell=bash disable=SC2164 # set -e in the scripts that source it
# Sourced by the batch scripts: runs pons under srun and requeues the job when it is stopped before it is finished.
#
#   time limit    #SBATCH --signal reaches the ranks before it; they exit with 99, and finished blocks are on disk
#   node fails    Slurm requeues the job (#SBATCH --requeue)
#   scancel       the job ends; submitted again it continues
#
# In every case --resume continues after the finished blocks, on any number of ranks, to the same bytes.

cd "${SLURM_SUBMIT_DIR:?a script for sbatch}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-${SLURM_CPUS_PER_TASK:-1}}
max_restarts=${MAX_RESTARTS:-50} # a job that cannot finish a block within its limit must not go on for ever

# pons_srun ARGUMENT...: one step over all tasks of the job.
pons_srun() {
  local code=0
  say "job $SLURM_JOB_ID: start ${SLURM_RESTART_COUNT:-0}, $SLURM_NTASKS ranks on $SLURM_JOB_NODELIST, $OMP_NUM_THREADS threads each"
  srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" "$PONS_BIN" "$@" || code=$?
  if [ $code = 99 ]; then
    [ "${SLURM_RESTART_COUNT:-0}" -lt "$max_restarts" ] || die "stopped again after $max_restarts restarts; see the log for progress"
    say "job $SLURM_JOB_ID: stopped before it was finished, requeued"
    scontrol requeue "$SLURM_JOB_ID"
  fi
  return $code
}
