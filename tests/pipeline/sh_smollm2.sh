#!/usr/bin/env bash
# A short run on the real model: two ranks compress it, the directory reloads with the same perplexity, the zeros are there.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
[ -f "${PONS_SMOLLM2:-}" ] || { echo "skipped: PONS_SMOLLM2 does not name the model (jobs/fetch-smollm2.sh)"; exit 77; }
data=$PONS_SOURCE/tests/data
out=$scratch/out-model

timeout 500 mpirun -n 2 "$PONS_BIN" --quiet compress "$PONS_SOURCE/configs/quickstart.yaml" --model "$PONS_SMOLLM2" \
  --calib "$data/wikitext2-valid.txt" --out "$out" --json --set calibration.windows=4 --set calibration.length=512 \
  --set evaluate.windows=4 --set evaluate.length=512 --set "evaluate.text=$data/wikitext2-test.txt" \
  >"$scratch/report.json" 2>"$scratch/err" || fail "compress: $(cat "$scratch/err")"
for flags in "" --weights-only; do
  on 2 --quiet eval ppl --model "$out" --text "$data/wikitext2-test.txt" --windows 4 --length 512 --json $flags ||
    fail "eval $flags: $(cat "$scratch/err")"
  cp "$scratch/out" "$scratch/eval$flags.json"
done
on 1 inspect "$out" --digest --json || fail "inspect: $(cat "$scratch/err")"

python3 - "$scratch" <<'PYTHON' || fail "the report and the directory disagree"
import json, sys
report, full, weights_only, seen = (json.load(open(f"{sys.argv[1]}/{name}"))
                                    for name in ("report.json", "eval.json", "eval--weights-only.json", "out"))
measured = report["perplexity"]
print(measured, full["perplexity"], weights_only["perplexity"])
def same(a, b): return abs(a / b - 1) < 1e-4
assert same(measured["full"], full["perplexity"]) and same(measured["weights_only"], weights_only["perplexity"])
# far better than pruning and rounding without compensation (which is in the thousands), worse than dense (28)
assert 28 < measured["weights_only"] < 300 and measured["weights_only"] < measured["full"] < 500
assert seen["digest"] == report["digest"]
assert seen["totals"]["zeros"] == report["zeros"] and seen["totals"]["bytes"] == report["bytes"]
assert 0.5 <= report["sparsity"] < 0.52 and report["linears"] == len(seen["linears"]) == 210
assert all(entry["bits"] == 4 and 0 < entry["relative_error"] < 1 for entry in seen["linears"])
PYTHON
finish
