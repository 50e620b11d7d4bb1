# Sourced by the other scripts: paths, and settings of Open MPI for one machine with few cores, as root or not.
# Variables that are already set are kept, so a cluster's own settings take precedence.

PONS_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PONS_CACHE=${PONS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pons} # downloads, kept between runs
PONS_WORK=${PONS_WORK:-$PONS_ROOT/build/work}                        # what the scripts make
case $PONS_WORK in /*) ;; *) PONS_WORK=$PWD/$PONS_WORK ;; esac        # before any script changes directory
PONS_BIN=${PONS_BIN:-$PONS_ROOT/build/release/pons}

export PYTHONDONTWRITEBYTECODE=1 # nothing is left in the source tree
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# Allow more ranks than cores, and leave threads the whole mask: the names of Open MPI 4, then those of Open MPI 5.
export OMPI_MCA_rmaps_base_oversubscribe=${OMPI_MCA_rmaps_base_oversubscribe:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export PRTE_MCA_rmaps_default_mapping_policy=${PRTE_MCA_rmaps_default_mapping_policy:-:oversubscribe}
export PRTE_MCA_hwloc_default_binding_policy=${PRTE_MCA_hwloc_default_binding_policy:-none}
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}                       # waiting ranks give way
export OMPI_MCA_orte_base_help_aggregate=${OMPI_MCA_orte_base_help_aggregate:-0}
if [ -z "${SLURM_JOB_ID:-}${PBS_JOBID:-}" ]; then # one machine: shared memory, no search for a fabric
  export OMPI_MCA_pml=${OMPI_MCA_pml:-ob1} OMPI_MCA_btl=${OMPI_MCA_btl:-self,vader,tcp}
fi

say() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
