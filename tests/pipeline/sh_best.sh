#!/usr/bin/env bash
# ctest: timeout=600
# Everything that improves on the published algorithm gives the same bytes for any number of ranks and threads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Ids of the tiny model's vocabulary: a fixed pseudo-random walk, enough for 4 windows of 64.
awk 'BEGIN { x = 11; for (i = 0; i < 2000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print int(x / 65536) % 320 } }' \
    >"$work/text.ids"

cat >"$work/recipe.yaml" <<YAML
calibration: {windows: 4, length: 64}
weights: {scale_from: compensated, refit: closed_form}
obr: {blocks: 4, solver: dual}
polish: {sweeps: 3}
YAML

compress() { # ranks threads option...
    local ranks=$1 threads=$2
    shift 2
    OMP_NUM_THREADS=$threads mpirun -n "$ranks" "$PONS_BIN" compress "$work/recipe.yaml" \
        --model "$PONS_FIXTURES/models/llama-gqa" --calib "$work/text.ids" --out "$work/out" --force --json "$@" \
        >"$work/report.json" 2>"$work/log" || { cat "$work/log"; exit 1; }
    python3 - "$work/report.json" <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["solver"]["products"] > 10 and 0 < r["relative_error"] < 0.2, r
assert abs(r["sparsity"] - 0.5) < 0.1, r
print(r["digest"])
PYTHON
}

for way in prune.mask=admm prune.mask=dual_swap "method=exact_obs"; do
    options=(--set "$way")
    [ "$way" != method=exact_obs ] || options+=(--set obr.blocks=2)
    expected=$(compress 1 2 "${options[@]}")
    got=$(compress 3 1 "${options[@]}")
    [ "$got" = "$expected" ] || { echo "$way: $got at 3 ranks, $expected at one"; exit 1; }
    echo "$way: $expected"
done
