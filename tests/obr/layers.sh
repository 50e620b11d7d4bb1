# Sourced: the layer errors of SmolLM2's linears by the dual solver over those of the direct one, on Hessians of the model itself.
# bounds LINEARS ARGUMENT...: `pons bench layers` with these arguments measures so many linears, each within its bound.
. "$PONS_SOURCE/tests/support/program.sh"
[ -f "${PONS_SMOLLM2:-}" ] || { echo "skipped: PONS_SMOLLM2 does not name the model (jobs/fetch-smollm2.sh)"; exit 77; }

bounds() {
  local linears=$1
  shift
  # Wanda needs the Hessians' diagonals only: the cheapest run that keeps them all.
  mpirun -n 2 "$PONS_BIN" --quiet compress "$PONS_SOURCE/configs/smollm2/obr-rtn.yaml" --model "$PONS_SMOLLM2" \
    --calib "$PONS_SOURCE/tests/data/wikitext2-valid.txt" --out "$scratch/model" --set method=wanda --set hessians=keep \
    --set calibration.windows=4 --set calibration.length=512 --set evaluate.text= 2>"$scratch/err" ||
    fail "compress: $(cat "$scratch/err")"
  OMP_NUM_THREADS=2 "$PONS_BIN" --quiet bench layers --run "$scratch/model.run" --model "$PONS_SMOLLM2" --json "$@" \
    >"$scratch/layers.json" 2>"$scratch/err" || fail "bench layers: $(cat "$scratch/err")"
  python3 - "$linears" "$scratch/layers.json" <<'PYTHON' || fail "layer errors"
import json, sys
wanted, r = int(sys.argv[1]), json.load(open(sys.argv[2]))
assert len(r["linears"]) == wanted and len({e["name"] for e in r["linears"]}) == wanted, len(r["linears"])
assert {e["name"].split()[2] for e in r["linears"]} == {p + "_proj" for p in ("q", "k", "v", "o", "gate", "up", "down")}
worst = max(r["linears"], key=lambda e: e["stage1_error_ratio"]["worst"])
print("pruning:", r["stage1_error_ratio"], "hardest:", worst["name"], worst["stage1_error_ratio"])
print("finished:", r["error_ratio"], "weights rounded to bf16:", r["rounded_error_ratio"])
# Pruning alone, where the direct solver is the optimum: 0.2 % a row is promised (obr.tolerance).
assert r["stage1_error_ratio"]["mean"] < 1.001
for e in r["linears"]:
    assert 1 - 1e-4 < e["stage1_error_ratio"]["mean"] <= e["stage1_error_ratio"]["worst"] < 1.01, e
    # Finished rows differ in roundings, too, a little each way.
    assert abs(e["error_ratio"]["mean"] - 1) < 0.005, e
PYTHON
}
