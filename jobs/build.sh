#!/usr/bin/env bash
# Configure and build one preset (release by default): build.sh [PRESET [CMAKE ARGUMENT...]]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
preset=${1:-release}
shift || true
cd "$PONS_ROOT"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
say "building preset $preset"
if ! { cmake --preset "$preset" "$@" && cmake --build --preset "$preset"; } >"$log" 2>&1; then
  tail -n 60 "$log" >&2
  die "the build of preset $preset failed"
fi
