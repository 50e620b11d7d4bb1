#!/usr/bin/env bash
# ThreadSanitizer finds no data race between the thread of a rank and those that read ahead and write behind.
# ctest: timeout=900
set -uo pipefail
cd "$PONS_SOURCE" || exit 1
[ "$(uname -m)" = x86_64 ] || { echo "skipped: suppressions were made on x86-64"; exit 77; }
bash jobs/memcheck.sh tsan
