#!/usr/bin/env bash
# ctest: timeout=900
# pons plan: its bytes are within 15 % of the resident set that runs of 1, 2 and 4 ranks reach on blocks of SmolLM2's shape; shapes up
# to 70B are planned from config.json alone; what does not fit is refused with the term that is to blame.
. "$PONS_SOURCE/tests/support/program.sh"
export OMP_NUM_THREADS=1
make_model() { python3 "$PONS_SOURCE/tests/plan/make_model.py" "$@" || fail "make_model.py $*"; }

awk 'BEGIN { x = 7; for (i = 0; i < 9000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print int(x / 65536) % 512 } }' \
  >"$scratch/text.ids"
echo 'calibration: {windows: 8, length: 512}' >"$scratch/recipe.yaml"
cat >"$scratch/best.yaml" <<'YAML'
calibration: {windows: 8, length: 512}
prune: {mask: admm, allocate: budget}
weights: {scale_from: compensated}
obr: {blocks: 8, target: compensated_inputs, residual: true}
polish: {sweeps: 8}
YAML
make_model "$scratch/small" 576 1536 2 9 3
for layout in "1 1 recipe" "2 1 recipe" "4 1 recipe" "2 2 recipe" "1 1 best" "4 1 best"; do # ranks, blocks of a wave
  read -r ranks wave recipe <<<"$layout"
  timeout 200 mpirun -n "$ranks" "$PONS_BIN" --quiet compress "$scratch/$recipe.yaml" --model "$scratch/small" \
    --calib "$scratch/text.ids" --out "$scratch/out-model" --force --json --set "wave=$wave" >"$scratch/report.json" 2>"$scratch/err" ||
    fail "compress at ranks, wave and recipe $layout: $(cat "$scratch/err")"
  on 1 plan "$scratch/$recipe.yaml" --model "$scratch/small" --ranks "$ranks" --set "wave=$wave" --json || fail "plan: $(cat "$scratch/err")"
  python3 - "$scratch/report.json" "$scratch/out" <<'PYTHON' || fail "planned bytes at ranks, wave and recipe $layout"
import json, sys
measured, plan = json.load(open(sys.argv[1]))["peak_rss_bytes"], json.load(open(sys.argv[2]))
print(plan["ranks"], "ranks: measured", measured, "planned", plan["resident_bytes"])
assert abs(plan["resident_bytes"] / measured - 1) < 0.15
assert plan["node_bytes"] >= plan["rank_bytes"] > 0 and plan["seconds"] > 0 and plan["flop"] > 0
for phase in plan["phases"]:
    for kind in "rank", "node", "disk":
        total = sum(t["bytes"] for t in phase["terms"] if t["per"] == kind)
        assert abs(total - phase[kind + "_bytes"]) <= 1e-6 * total + 1
PYTHON
done

# Llama-2 7B and 70B, Llama-3 8B, Qwen2.5 7B: hidden, ffn, layers, heads, key-value heads
for shape in "4096 11008 32 32 32" "8192 28672 80 64 8" "4096 14336 32 32 8" "3584 18944 28 28 4"; do
  # shellcheck disable=SC2086
  make_model "$scratch/shape" $shape config
  accepts plan "$scratch/recipe.yaml" --model "$scratch/shape" --ranks 64 --nodes 8 --threads 8
  grep -q '^fullest: ' "$scratch/out" || fail "no fullest phase for $shape"
done

make_model "$scratch/big" 8192 28672 80 64 8 config
plan_big() { on 1 plan "$scratch/recipe.yaml" --model "$scratch/big" --json "$@" && cp "$scratch/out" "$scratch/plan-${*: -1}.json"; }
plan_big --set calibration.windows=128 --ranks 8 --nodes 8 || fail "70B on 8 ranks"
plan_big --set calibration.windows=128 --nodes 64 --ranks 64 || fail "70B on 64 ranks"
plan_big --set calibration.windows=128 --simulate || fail "simulate: $(cat "$scratch/err")"
python3 - "$scratch/plan-8.json" "$scratch/plan-64.json" "$scratch/plan---simulate.json" <<'PYTHON' || fail "70B plans"
import json, sys
few, many, simulated = (json.load(open(path)) for path in sys.argv[1:])
assert many["rank_bytes"] < few["rank_bytes"] and many["seconds"] < few["seconds"] / 2
assert 1 < many["flop"] / few["flop"] < 3  # each node makes the inverse for itself
# 2 flop per weight, token and pass; the sums of the Hessians; each at least
tokens, weights = 128 * 512, 80 * (8192 * 8192 * 2.25 + 3 * 8192 * 28672)
assert few["flop"] > 2 * tokens * weights + tokens * 80 * (3 * 8192**2 + 28672**2)
seen = {s["ranks"] for s in simulated["schedules"]}
assert seen == {8, 64, 256}
for s in simulated["schedules"]:
    assert 0 <= s["idle"] < 1 and s["seconds"] > 0 and s["moved_bytes"] > 0 and s["ranks"] == s["teams"] * s["ranks_per_team"]
by = {(s["ranks"], s["teams"]): s["seconds"] for s in simulated["schedules"]}
assert by[8, 1] > by[64, 1] > by[256, 1]
PYTHON

# the factor in another order: 2 n^3 / 3 flop for each input, of the columns that are swept
for method in gptq obr_gptq; do
  plan_big --set method=$method --ranks 1 && mv "$scratch/plan-1.json" "$scratch/plain.json" || fail "$method"
  plan_big --set method=$method --set obr.act_order=true --ranks 1 || fail "$method, act_order"
  python3 - $method "$scratch/plain.json" "$scratch/plan-1.json" <<'PYTHON' || fail "$method: flop of act_order"
import json, sys
plain, ordered = (json.load(open(path))["flop"] for path in sys.argv[2:])
share = 1 if sys.argv[1] == "gptq" else 0.5
more = 80 * sum(2 * (share * d) ** 3 / 3 for d in (8192, 8192, 8192, 28672))
assert abs((ordered - plain) / more - 1) < 1e-6, (ordered - plain, more)
PYTHON
done

refuses_fit() {
  on 1 plan "$scratch/recipe.yaml" --model "$scratch/big" "$@"
  [ $? = 8 ] || fail "plan $*: not refused"
  grep -qE 'pons: does not fit: .* of down needs [0-9.]+ GB on a node of [0-9.]+ GB with .*; largest term: ' "$scratch/err" ||
    fail "plan $*: $(cat "$scratch/err")"
}
refuses_fit --ranks 4 --memory 16
refuses_fit --ranks 64 --nodes 2 --memory 64
# the node's matrices are what does not fit: on its disk they do
for key in obr.precision=auto obr.precision=fp32 obr.act_order=true; do
  refuses_fit --ranks 8 --nodes 8 --memory 12 --set $key
  grep -q "; it fits with layout.scratch and [0-9.]* GB of the node's disk" "$scratch/err" || fail "$key: no way out: $(cat "$scratch/err")"
  plan_big --memory 12 --set $key --set "layout.scratch=$scratch" --nodes 8 --ranks 8 || fail "$key: $(cat "$scratch/err")"
  python3 -c 'import json, sys; plan = json.load(sys.stdin); assert plan["disk_bytes"] > 8 * 28672**2 and plan["node_bytes"] < 12e9' \
    <"$scratch/out" || fail "$key: bytes in layout.scratch"
done
echo '{"solve": -1}' >"$scratch/rates.json"
refuses 4 'rates.solve: allowed: a number above 0' plan "$scratch/recipe.yaml" --model "$scratch/big" --rates "$scratch/rates.json"
refuses 2 'nodes: found 9, allowed: up to the 4 ranks' plan "$scratch/recipe.yaml" --model "$scratch/big" --ranks 4 --nodes 9
refuses 2 '--model is missing' plan "$scratch/recipe.yaml"
finish
