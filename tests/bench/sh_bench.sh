#!/usr/bin/env bash
# ctest: timeout=600
# pons bench on tiny shapes: every measurement runs at any rank count, its JSON has the promised fields, and what it computed is
# right. Seconds are never judged.
. "$PONS_SOURCE/tests/support/program.sh"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# check PYTHON: a condition on r, the result (for lists: on each of them) of the latest run.
check() {
  python3 - "$scratch/out" "$1" <<'PYTHON' || fail "$1 of: $(head -c 1500 "$scratch/out")"
import json, math, sys
root = json.load(open(sys.argv[1]))
for r in root.get("results", [root]):
    for field in ("seconds", "gflops", "share_of_peak", "error_ratio", "speedup_vs_potrf", "workspace_bytes", "baseline"):
        assert field in r, field
    assert r["seconds"] > 0 and r["gflops"] > 0 and r["share_of_peak"] > 0 and r["peak_gflops"] > 0
    assert eval("(" + sys.argv[2] + ")"), r
assert root["machine"]["kernels"]
PYTHON
}

solved='abs(r["error_ratio"] - 1) < 0.02 and 1 - 1e-5 < r["stage1_error_ratio"] < 1.001 and r["stage1_worst_error_ratio"] < 1.01
  and r["speedup_vs_potrf"] == r["baseline"]["speedup"] > 0'
tiny=(--rows 80 --dim 64 --repeat 1 --sample 6)

accepts bench gemm --rows 96 --dim 80 --repeat 1 --json
check 'sum(x["method"] == "streamed tiles" for x in root["results"]) == any(x["precision"] == "bf16" for x in root["results"])'
check 'r["method"] == "streamed tiles" and r["precision"] == "bf16" and r["rows"] == 16384 * r["threads"] * r["ranks"] or
  r["method"] == "prepared matrix" and r["relative_error"] < (1e-5 if r["precision"] == "fp32" else 2e-2) and r["baseline"] is None'

# What a node shares and what is dealt are divided by the ranks: at four, clearly less than what one rank needs.
bytes() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["workspace_bytes"] or -1)' "$scratch/out"; }
for ranks in 1 4; do
  on $ranks bench memory --dim 1536 --rows 64 --tokens 256 --windows 8 --precision fp32 --json ||
    fail "bench memory: $(cat "$scratch/err")"
  [ $ranks = 1 ] && alone=$(bytes)
done
[ "$alone" = -1 ] || [ "$(bytes)" -lt $((2 * alone / 3)) ] || fail "bench memory: $alone bytes on one rank, $(bytes) on each of four"

accepts bench factor --dim 300 --repeat 1 --json
check 'r["relative_error"] < 1e-13 and r["baseline"]["seconds_all_rows"] > 0 and r["dim"] == 300'

for options in "" "--pattern 2:4" "--sparsity 0.7 --alpha 0.25" "--alpha 0" "--alpha 1" "--spectrum channels --seed 3" \
  "--power 1.5 --outliers 100,30 --haar"; do
  # shellcheck disable=SC2086
  accepts bench solver "${tiny[@]}" $options --json
  check "$solved"' and r["fallbacks"] == 0 and 1 <= r["stage1_iterations"] <= 60 and r["rows"] == 80 and r["baseline"]["measured_rows"] >= 6'
done
accepts bench solver "${tiny[@]}" --solver primal --sparsity 0.9 --json
check "$solved"' and r["method"] == "primal" and r["fallbacks"] == 0 and r["stage1_iterations"] >= 1'
accepts bench solver "${tiny[@]}" --solver direct --json # a row's bits do not depend on the others
check 'abs(r["error_ratio"] - 1) < 1e-6 and abs(r["worst_error_ratio"] - 1) < 1e-6 and r["fallbacks"] is None'

on 1 bench solver --hessian "$PONS_FIXTURES/block0_down_proj_64x768.safetensors" --repeat 1 --sample 4 --json ||
  fail "golden layer: $(cat "$scratch/err")"
check "$solved"' and r["rows"] == 64 and r["dim"] == 768'

accepts bench hessian --dim 72 --tokens 96 --repeat 2 --precision fp32 --json
check 'r["relative_error"] < 1e-5 and r["baseline"]["speedup"] > 0'
accepts bench clip "${tiny[@]}" --json
check 'abs(r["error_ratio"] - 1) < 1e-4'
accepts bench gptq "${tiny[@]}" --json
check 'abs(r["error_ratio"] - 1) < 0.02'
accepts bench forward --model "$PONS_FIXTURES/models/llama-gqa" --tokens 40 --repeat 1 --json
check 'r["baseline"] is None or r["relative_error"] < 0.05'
check 'r["attention_seconds"] > 0 and r["attention_gflops"] > 0'
accepts bench all "${tiny[@]}" --tokens 64 --model "$PONS_FIXTURES/models/llama-gqa" --json
check 'set(x["what"] for x in root["results"]) == {"gemm", "solver", "hessian", "forward", "clip", "gptq"}'
accepts bench all "${tiny[@]}" --tokens 64
[ "$(grep -cE '^(gemm|solver|hessian|clip|gptq) .* - |^(solver|clip|gptq) .*\.' "$scratch/out")" -ge 5 ] ||
  fail "the table lacks rows: $(cat "$scratch/out")"
grep -q extrapolated "$scratch/out" || fail "the table does not say that it extrapolated"

on 1 bench solver --sweep dim --to 1024 --rows 8 --sample 2 --repeat 1 --json || fail "sweep: $(cat "$scratch/err")"
check 'len(root["results"]) == 2 and all(math.isfinite(root["exponents"][k])
  for k in ("solver_seconds_per_row", "potrf_seconds_per_row", "factor_seconds"))'
on 1 bench solver --sweep rows --to 512 --dim 32 --sample 2 --repeat 1 --json || fail "sweep: $(cat "$scratch/err")"
check '[x["rows"] for x in root["results"]] == [256, 512] and math.isfinite(root["exponents"]["solver_seconds"])'

# The dump holds the layer and what the exact solver makes of the sampled rows.
on 1 bench solver "${tiny[@]}" --dump "$scratch/layer.safetensors" --json || fail "dump: $(cat "$scratch/err")"
PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$scratch/layer.safetensors" <<'PYTHON' || fail "the dump is not right"
import sys
import safetensors
t = safetensors.load(sys.argv[1])
shapes = {name: (dtype, shape) for name, (dtype, shape, _) in t.items()}
assert shapes == {"W": ("F32", [80, 64]), "H": ("F32", [64, 64]), "mask": ("U8", [80, 64]), "scale": ("F32", [80]),
                  "alpha": ("F64", [1]), "damping": ("F64", [1]), "rows": ("I64", [6]), "V": ("F32", [6, 64])}, shapes
V, rows, mask = safetensors.numbers(t["V"]), safetensors.numbers(t["rows"]), t["mask"][2]
assert sorted(set(rows)) == list(rows) and 0 <= rows[0] and rows[-1] < 80
assert sum(mask) == 80 * 32
for i, row in enumerate(rows):
    assert all((V[i * 64 + j] == 0) or mask[row * 64 + j] for j in range(64))
PYTHON
# Read back, it is the same layer: the direct solver's rows are its V again.
on 1 bench solver --hessian "$scratch/layer.safetensors" --sample 6 --repeat 1 --dump "$scratch/again.safetensors" --json ||
  fail "reading the dump: $(cat "$scratch/err")"
check "$solved"
cmp "$scratch/layer.safetensors" "$scratch/again.safetensors" || fail "the layer changed on its way through a file"
if python3 -c 'import torch' 2>/dev/null; then
  python3 "$PONS_SOURCE/tests/bench/torch_baseline.py" "$scratch/layer.safetensors" --json >"$scratch/torch" ||
    fail "torch_baseline.py failed"
  python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); assert abs(r["error_ratio"] - 1) < 1e-3, r' "$scratch/torch" ||
    fail "torch computes something else: $(cat "$scratch/torch")"
fi

# A kept Hessian of a run.
awk 'BEGIN { x = 7; for (i = 0; i < 600; i++) { x = (x * 1103515245 + 12345) % 2147483648; print int(x / 65536) % 320 } }' >"$scratch/text.ids"
echo "calibration: {windows: 3, length: 64}" >"$scratch/recipe.yaml"
on 1 compress "$scratch/recipe.yaml" --set hessians=keep --model "$PONS_FIXTURES/models/llama-gqa" \
  --calib "$scratch/text.ids" --out "$scratch/model" --run "$scratch/run" || fail "compress: $(cat "$scratch/err")"
accepts bench solver --hessian "$scratch/run/hessians/block-000.h5:down" --rows 40 --sample 3 --repeat 1 --json
check "$solved"' and r["rows"] == 40'

# Layers of a real model: every improvement is one, and together they reach what is asked of them.
on 1 bench quality --fixtures "$PONS_FIXTURES" --json || fail "bench quality: $(cat "$scratch/err")"
python3 - "$scratch/out" <<'PYTHON' || fail "bench quality: $(head -c 1500 "$scratch/out")"
import json, sys
names = {}
for r in json.load(open(sys.argv[1]))["fixtures"]:
    names.setdefault(r["name"], {})[r["method"]] = r
    assert r["relative_error"] > 0 and r["products"] > 0 and r["seconds"] > 0
goals = {"block0_k_proj": 0.60, "block0_down_proj_64x768": 0.66}
assert set(goals) <= set(names), names
for name, methods in names.items():
    base = methods["obr_gptq"]
    for r in methods.values():
        assert abs(r["ratio"] - r["relative_error"] / base["relative_error"]) < 1e-9
    assert methods["best"]["ratio"] <= goals.get(name, 0.7), name
    for lever in ("mask obs", "mask dual_swap", "mask admm", "scale compensated", "blocks", "refit", "polish"):
        assert methods[lever]["ratio"] < 1, (name, lever)
PYTHON
refuses 4 'found no .*safetensors with tensors W' bench quality --fixtures "$PONS_SOURCE/src"
refuses 2 'fixtures has no effect on bench gemm' bench gemm --fixtures .
# Every linear of that run's model, row by row against the direct solver.
on 1 bench layers --run "$scratch/run" --model "$PONS_FIXTURES/models/llama-gqa" --sample 3 --json || fail "layers: $(cat "$scratch/err")"
python3 - "$scratch/out" <<'PYTHON' || fail "layers: $(head -c 1500 "$scratch/out")"
import json, sys
root = json.load(open(sys.argv[1]))
layers = len(root["linears"]) // 7
assert len(root["linears"]) == 7 * layers >= 7 and {e["name"] for e in root["linears"]} >= {"block 0 q_proj", f"block {layers - 1} down_proj"}
for e in root["linears"] + [root]:
    assert e["rows"] == sum(e["rows_by_iterations"]) and e["iterations_most"] == len(e["rows_by_iterations"]) - 1
    assert 1 - 1e-5 < e["stage1_error_ratio"]["mean"] <= e["stage1_error_ratio"]["worst"] < 1.01
    assert abs(e["error_ratio"]["mean"] - 1) < 0.05
    assert e["rounded_error_ratio"]["mean"] != 1 and abs(e["rounded_error_ratio"]["mean"] - 1) < 0.05
assert root["rows"] == sum(e["rows"] for e in root["linears"]) == 21 * layers
PYTHON
on 1 bench layers --run "$scratch/run" --model "$PONS_FIXTURES/models/llama-gqa" --sample 1 || fail "layers: $(cat "$scratch/err")"
grep -q '^rows by iterations:' "$scratch/out" || fail "the table of the linears: $(cat "$scratch/out")"

refuses 2 'name what to measure' bench
refuses 2 'run is missing' bench layers --model "$PONS_FIXTURES/models/llama-gqa"
on 1 bench layers --run "$scratch/nowhere" --model "$PONS_FIXTURES/models/llama-gqa"
[ $? = 6 ] && grep -q nowhere "$scratch/err" || fail "layers of a run that is not there: $(cat "$scratch/err")"
refuses 2 "'nothing' is unknown; known are gemm" bench nothing
refuses 2 'hessian has no effect on bench gemm' bench gemm --hessian x.h5:o
refuses 2 '--model is missing' bench forward
refuses 2 "found '4:2'" bench solver --pattern 4:2
refuses 2 "found 'fast'; allowed are fp32, bf16" bench solver --precision fast
refuses 2 'name the group' bench solver --hessian "$scratch/run/hessians/block-000.h5"
refuses 6 'nowhere' bench solver --hessian "$scratch/nowhere.h5:o"
refuses 10 '768 wide, --dim is 64' bench solver --hessian "$PONS_FIXTURES/block0_down_proj_64x768.safetensors" --dim 64
refuses 10 '64 rows, --rows is 65' bench solver --hessian "$PONS_FIXTURES/block0_down_proj_64x768.safetensors" --rows 65
refuses 10 '' bench solver --dim 66 --rows 8 --pattern 2:4
refuses 2 'sweep excludes --hessian' bench solver --sweep dim --hessian x.h5:o
refuses 2 'hessian excludes --power' bench solver --power 2 --hessian x.h5:o
refuses 2 'pattern excludes --sparsity' bench solver --pattern 2:4 --sparsity 0.6
refuses 2 '--to: found 300' bench solver --sweep dim --to 300
refuses 2 'is varied by --sweep' bench solver --sweep dim --dim 64
finish
