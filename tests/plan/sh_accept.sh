#!/usr/bin/env bash
# ctest: timeout=600
# pons plan accepts exactly what pons compress accepts, and refuses the rest with the same line: known layouts, then random recipes
# on models of random widths, with 1 to 4 ranks. Bytes are compared in plan.plan: models this small take less than the fixed
# allowance of the plan for MPI.
. "$PONS_SOURCE/tests/support/program.sh"
export OMP_NUM_THREADS=1
python3 -c "print(*((7 * i * i + i) % 512 for i in range(600)))" >"$scratch/calib.ids"

# agree MODEL RECIPE RANKS: compares the two programs; what both said is left in $scratch/plan and $scratch/compress.
agree() {
  local planned done
  on 1 -q plan "$2" --model "$1" --ranks "$3" --json
  planned=$?
  grep '^pons: ' "$scratch/err" >"$scratch/plan"
  cp "$scratch/out" "$scratch/plan.json"
  rm -rf "$scratch"/o*
  timeout 120 mpirun -n "$3" "$PONS_BIN" -q compress "$2" --model "$1" --calib "$scratch/calib.ids" --out "$scratch/o" --json \
    >"$scratch/report.json" 2>"$scratch/err"
  done=$?
  grep '^pons: ' "$scratch/err" >"$scratch/compress"
  [ $planned = $done ] || { fail "plan exits with $planned, compress with $done on $3 ranks: $(cat "$scratch/plan" "$scratch/err") $(cat "$2")"; return; }
  cmp -s "$scratch/plan" "$scratch/compress" || fail "lines differ: $(cat "$scratch/plan" "$scratch/compress")"
  [ $done = 0 ] && accepted=$((accepted + 1)) || refused=$((refused + 1))
}

accepted=0 refused=0
python3 "$PONS_SOURCE/tests/plan/make_model.py" "$scratch/three" 32 64 3 4 2
layout() { # layout RANKS YAML
  printf 'method: gptq\ncalibration: {windows: 2, length: 32}\n%s\n' "$2" >"$scratch/r.yaml"
  agree "$scratch/three" "$scratch/r.yaml" "$1"
}
layout 10 $'wave: 3\nlayout: {ranks_per_team: 4}'
layout 5 $'wave: 3\nlayout: {teams: 5}'
layout 4 $'wave: 3\nlayout: {teams: 4}'
layout 4 $'wave: 8\nlayout: {teams: 2, ranks_per_team: 1}'
[ $accepted = 0 ] || fail "a layout that the ranks do not make is accepted"
layout 4 $'wave: 3\nlayout: {teams: 2}'
layout 3 $'wave: 8\nlayout: {ranks_per_team: 1}'
[ $accepted = 2 ] || fail "a layout that the ranks make is refused: $(cat "$scratch/err")"

# recipe SEED: writes a random recipe and the shape of a model, prints hidden, ffn, layers, heads, kv heads and ranks.
recipe() {
  python3 - "$1" "$scratch/r.yaml" <<'PYTHON'
import random, sys
r = random.Random(int(sys.argv[1]))
heads = r.choice([2, 4, 6])
hidden, ffn = heads * r.choice([8, 16, 24]), r.choice([64, 96, 80, 112, 76, 136])
method = r.choice(["rtn", "gptq", "wanda", "wanda_rtn", "sparsegpt_gptq", "obr_rtn", "obr_gptq", "obr_gptq"])
prunes, quantizes = method not in ("rtn", "gptq"), method != "wanda"
some = lambda *x: r.choice(x)
out = {"method": method, "calibration": {"windows": 4, "length": 32}}
def put(section, key, *values, often=0.4):
    if r.random() < often:
        out.setdefault(section, {})[key] = some(*values)
if r.random() < 0.4:
    out["wave"] = some(2, 3)
    put("layout", "teams", 1, 2, 3, 4)
    put("layout", "ranks_per_team", 1, 2, 3)
put("rotation", "kind", "none", "quarot", "spinquant")
if out.get("rotation", {}).get("kind") != "none":
    put("rotation", "online", "false", "true")
    put("rotation", "seed", 3)
if quantizes:
    put("weights", "bits", 3, 4)
    put("weights", "group_size", 0, 8, 16, 32)
    put("weights", "symmetric", "true", "false")
if prunes:
    put("prune", "pattern", "2:4", "4:8", "3:16", "unstructured")
put("activations", "bits", 4, 8, 16)
put("activations", "group_size", 0, 8, 16, 48)
put("kv", "bits", 4, 16)
if method.startswith("obr"):
    put("obr", "alpha", 0.5, 0.25)
    put("obr", "solver", "direct", "dual")
if not quantizes:
    out["output"] = {"format": "dense"}
def text(x):
    return "{" + ", ".join(f"{k}: {v}" for k, v in x.items()) + "}" if isinstance(x, dict) else str(x)
open(sys.argv[2], "w").write("".join(f"{k}: {text(v)}\n" for k, v in out.items()))
print(hidden, ffn, some(2, 3), heads, some(1, 2, heads) if heads > 2 else some(1, 2), r.randint(1, 4))
PYTHON
}

accepted=0 refused=0
for seed in $(seq "${PONS_ACCEPT_SEEDS:-16}"); do
  read -r hidden ffn layers heads kv ranks <<<"$(recipe "$seed")"
  python3 "$PONS_SOURCE/tests/plan/make_model.py" "$scratch/model" "$hidden" "$ffn" "$layers" "$heads" "$kv" || fail "make_model.py"
  agree "$scratch/model" "$scratch/r.yaml" "$ranks"
done
echo "$accepted accepted, $refused refused"
[ $accepted -ge 3 ] && [ $refused -ge 3 ] || fail "the recipes tell nothing: $accepted accepted, $refused refused"
finish
