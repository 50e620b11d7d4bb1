#!/usr/bin/env bash
# Every C file is formatted as .clang-format says. Other versions of clang-format disagree in details: only 14 judges.
set -euo pipefail
cd "$PONS_SOURCE"
formatter=$(command -v clang-format-14 || command -v clang-format || true)
if [ -z "$formatter" ] || ! "$formatter" --version | grep -q 'version 14\.'; then
  echo "skipped: clang-format 14 is not installed"
  exit 77
fi
find include src tests -name '*.[ch]' -print0 | xargs -0 "$formatter" --dry-run -Werror
