# ctest: label=slow timeout=1200
# mpirun over several hosts that are name spaces of this machine; skipped where that cannot be.
exec bash "$PONS_SOURCE/jobs/test-hosts.sh"
