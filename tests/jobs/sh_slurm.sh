# ctest: label=slow timeout=2400
# The batch scripts on a Slurm of this machine's own; skipped where that cannot be.
exec bash "$PONS_SOURCE/jobs/test-slurm.sh"
