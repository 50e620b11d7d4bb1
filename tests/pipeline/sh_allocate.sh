# ctest: timeout=900
# prune.allocate: budget: the same bytes for any ranks and threads and after an interruption, the same number of zeros as uniform,
# sparsities that differ and follow from the curves in the journal. With weights.allocate_bits: the same for bits, at no more of them,
# and an output that is read back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(3000)))" >"$work/text.ids"
cat >"$work/recipe.yaml" <<YAML
method: obr_gptq
calibration: {windows: 5, length: 64}
prune: {sparsity: 0.5, allocate: budget, spread: 0.2}
YAML
arguments=(compress "$work/recipe.yaml" --model "$model" --calib "$work/text.ids" --out "$work/out" --json)
compress() { # ranks threads arguments...
    OMP_NUM_THREADS=$2 mpirun -n "$1" "$PONS_BIN" "${arguments[@]}" "${@:3}" >"$work/report.json" 2>"$work/log" ||
        { cat "$work/log"; exit 1; }
}
digest() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["digest"])' "$work/report.json"; }

compress 1 1
expected=$(digest)
for layout in "1 3" "3 1" "2 2"; do
    # shellcheck disable=SC2086 # two words
    compress $layout --force
    [ "$(digest)" = "$expected" ] || { echo "ranks, threads $layout: $(digest), expected $expected"; exit 1; }
done
compress 3 1 --force --set coordinator_works=false
[ "$(digest)" = "$expected" ] || { echo "a coordinator that does not work: $(digest), expected $expected"; exit 1; }

python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
manifest = json.load(open(f"{work}/out/pons.json"))
line = next(l for l in map(json.loads, open(f"{work}/out.run/journal.jsonl")) if l["event"] == "allocation")
chosen = {l["name"]: l for l in line["linears"]}
zeros = {l["name"]: l["zeros"] / l["rows"] / l["cols"] for l in manifest["linears"]}
size = {l["name"]: l["rows"] * l["cols"] for l in manifest["linears"]}
assert set(chosen) == set(zeros)
total = sum(l["sparsity"] * size[n] for n, l in chosen.items()) / sum(size.values())
assert abs(total - 0.5) < 0.004, total  # whole columns
assert max(l["sparsity"] for l in chosen.values()) - min(l["sparsity"] for l in chosen.values()) > 0.1
for name, l in chosen.items():
    assert 0.3 - 0.01 <= l["sparsity"] <= 0.7 + 0.01
    assert l["sparsity"] - 0.01 <= zeros[name] < l["sparsity"] + 0.05, (name, l["sparsity"], zeros[name])
    assert all(a <= b * 1.05 for a, b in zip(l["damage"], l["damage"][1:])), l  # more zeros, more damage
# Piecewise linear between the measured points, the choice is no worse than uniform.
def damage(l, s):
    x = (s - 0.3) / 0.2
    k = min(max(int(x), 0), 1)
    return l["damage"][k] + (x - k) * (l["damage"][k + 1] - l["damage"][k])
after = sum(damage(l, l["sparsity"]) for l in chosen.values())
before = sum(l["damage"][1] for l in chosen.values())
assert after < 0.98 * before, (after, before)
print("damage over that of uniform:", after / before)
PY

# pons plan shows it.
"$PONS_BIN" plan "$work/recipe.yaml" --model "$model" --run "$work/out.run" >"$work/plan"
python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
line = next(l for l in map(json.loads, open(f"{work}/out.run/journal.jsonl")) if l["event"] == "allocation")
rows = open(f"{work}/plan").read().split("sparsity chosen for each linear:\n")[1].splitlines()[1:]
found = [v for row in rows for v in row.split()[1:]]
assert found == ["%.3f" % l["sparsity"] for l in line["linears"]], rows
PY

# Cut after the allocation, and after a block: what was chosen is kept.
cp -r "$work/out" "$work/whole"
for event in allocation block; do
    cp "$work/out.run/journal.jsonl" "$work/journal"
    rm -rf "$work/out" "$work/out.part"
    mkdir "$work/out.part"
    python3 - "$work" $event <<'PY'
import sys
work, event = sys.argv[1:]
lines = []
for line in open(f"{work}/journal"):
    lines.append(line)
    if f'"event":"{event}"' in line:
        break
open(f"{work}/out.run/journal.jsonl", "w").write("".join(lines))
PY
    compress 2 1 --resume
    diff -r "$work/whole" "$work/out" || { echo "resumed after $event: other bytes"; exit 1; }
done

# Bits, too.
bits=(--set weights.allocate_bits=3,4,8 --set activations.bits=16 --set kv.bits=16
    --set "evaluate.text=$work/text.ids" --set evaluate.windows=8 --set evaluate.length=64)
compress 1 1 --force "${bits[@]}"
expected=$(digest)
cp -r "$work/out" "$work/bits"
compress 3 1 --force "${bits[@]}"
[ "$(digest)" = "$expected" ] || { echo "bits, 3 ranks: $(digest), expected $expected"; exit 1; }
python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
manifest = json.load(open(f"{work}/out/pons.json"))
line = next(l for l in map(json.loads, open(f"{work}/out.run/journal.jsonl")) if l["event"] == "allocation")
chosen = {l["name"]: l for l in line["linears"]}
stored = {l["name"]: l for l in manifest["linears"]}
size = {n: l["rows"] * l["cols"] for n, l in stored.items()}
assert all(l["bits"] == stored[n]["bits"] for n, l in chosen.items())
assert len({l["bits"] for l in chosen.values()}) > 1, "one width for all"
total = sum((1 - l["sparsity"]) * l["bits"] * size[n] for n, l in chosen.items()) / sum(size.values())
assert total < 2 * 1.005, total  # whole columns
assert total > 1.9, total  # the last step down in bits may save more than was needed
assert all(len(l["damage"]) == 9 for l in chosen.values())
for l in chosen.values():  # more bits, less damage
    assert all(a > b for a, b in zip(l["damage"][:3], l["damage"][6:])), l
# What stock loaders are told: by name first, then by pattern, then by class.
config = json.load(open(f"{work}/out/config.json"))["quantization_config"]
import re
def told(module):
    for exact in (True, False):
        for group in config["config_groups"].values():
            for target in group["targets"]:
                if (target == module) if exact else (target.startswith("re:") and re.match(target[3:], module)):
                    return group["weights"]["num_bits"]
    return next(g["weights"]["num_bits"] for g in config["config_groups"].values() if "Linear" in g["targets"])
assert all(told(n) == l["bits"] for n, l in stored.items())
PY
"$PONS_BIN" eval ppl --model "$work/out" --text "$work/text.ids" --windows 8 --length 64 --json >"$work/eval.json"
python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
a, b = (json.load(open(f"{work}/{f}.json"))["perplexity"] for f in ("eval", "report"))
assert a == b["weights_only"], (a, b)
PY
"$PONS_BIN" plan "$work/recipe.yaml" --model "$model" --run "$work/out.run" | grep -q "^bits chosen for each linear:" ||
    { echo "pons plan shows no bits"; exit 1; }
rm -r "$work/out"
mkdir "$work/out.part" # cut after the first block
sed -i '/"event":"block"/{p;Q}' "$work/out.run/journal.jsonl"
compress 2 1 --resume "${bits[@]}"
diff -r "$work/bits" "$work/out" || { echo "bits, resumed: other bytes"; exit 1; }

# A journal whose allocation is not of this model's linears is refused with its name.
mv "$work/out" "$work/out.part"
for change in 'append(line["linears"][0])' 'pop()'; do
    cp "$work/out.run/journal.jsonl" "$work/journal"
    python3 - "$work/journal" "$change" >"$work/out.run/journal.jsonl" <<'PY'
import json, sys
for line in map(json.loads, open(sys.argv[1])):
    if line["event"] in ("model", "finished"):
        break
    if line["event"] == "allocation":
        eval('line["linears"].' + sys.argv[2])
    print(json.dumps(line, separators=(",", ":")))
PY
    if (compress 2 1 --resume "${bits[@]}") >"$work/err" 2>&1; then echo "journal with $change: accepted"; exit 1; fi
    grep -q 'journal.jsonl: allocation: found [0-9]* linears, allowed: the 21 of this model' "$work/err" ||
        { cat "$work/err"; exit 1; }
    cp "$work/journal" "$work/out.run/journal.jsonl"
done
