# Rotations learned from calibration windows: the model they leave is the dense one, they make ranges smaller, they have
# the same bytes for any number of ranks and threads, and RUN/R.bin gives a second run the same packed model.
. "$PONS_SOURCE/tests/support/program.sh"
set -e
export OMP_NUM_THREADS=1
model=$PONS_FIXTURES/models/llama-gqa
awk 'BEGIN { x = 7; for (i = 0; i < 3000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print int(x / 65536) % 320 } }' \
  >"$scratch/text.ids"
cat >"$scratch/recipe.yaml" <<YAML
compute: fp32
calibration: {windows: 5, length: 64}
output: {dtype: f32}
evaluate: {text: $scratch/text.ids, windows: 7, length: 32}
YAML
learn=(--set rotation.learn=true --set rotation.learn_windows=5 --set rotation.learn_steps=40)

compress() { # ranks name option...
  local ranks=$1 name=$2
  shift 2
  on "$ranks" compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/text.ids" --out "$scratch/$name" --json "$@" ||
    { cat "$scratch/err"; exit 1; }
  cp "$scratch/out" "$scratch/$name.json"
}
field() { python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[k]
print(v)' "$scratch/$1.json" "$2"; }
near() { python3 -c 'import sys; a, b, t = map(float, sys.argv[1:]); sys.exit(not abs(a / b - 1) < t)' "$@"; }

# 1. The function is that of the dense model, and quantized activations do less harm to it.
compress 1 plain --set method=none --set rotation.kind=none --set activations.bits=16 --set kv.bits=16
compress 1 dense --set method=none "${learn[@]}"
near "$(field dense perplexity.weights_only)" "$(field plain perplexity.weights_only)" 1e-5 ||
  fail "perplexity with a learned rotation $(field dense perplexity.weights_only), dense $(field plain perplexity.weights_only)"
grep -oE 'residual stream = .*deviation.*[0-9]' "$scratch/err" || fail "no line about what was learned: $(cat "$scratch/err")"
python3 - "$(grep -o 'learn: mean.*' "$scratch/err")" <<'PY' || fail "learning did not make ranges smaller"
import re, sys
n = [float(x) for x in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", sys.argv[1])]
sys.exit(not (n[1] < .9 * n[0] and n[3] < .95 * n[2] and n[4] <= 1e-6))
PY

# 2. Ranks and threads.
for layout in "1 2" "2 1" "3 1" "4 1"; do
  OMP_NUM_THREADS=${layout#* } compress "${layout% *}" "other${layout% *}" --set method=none "${learn[@]}"
  cmp "$scratch/dense.run/R.bin" "$scratch/other${layout% *}.run/R.bin" || fail "R.bin differs at ranks, threads = $layout"
done

# 3. The file, in a second run.
compress 2 learned --set method=obr_gptq "${learn[@]}"
compress 2 loaded --set method=obr_gptq --set "rotation.file=$scratch/learned.run/R.bin"
[ "$(field learned digest)" = "$(field loaded digest)" ] || fail "R.bin gives another model: $(field learned digest), $(field loaded digest)"
near "$(field learned perplexity.full)" "$(field loaded perplexity.full)" 1e-12 || fail "R.bin gives another perplexity"

# 4. A run that was cut off after its first block takes the file up.
mkdir "$scratch/cut.part"
cp -r "$scratch/learned.run" "$scratch/cut.run"
sed -i '/"block":0/q' "$scratch/cut.run/journal.jsonl"
compress 3 cut --resume --set method=obr_gptq "${learn[@]}"
grep -q 'resume: blocks done = 1' "$scratch/err" || fail "nothing was resumed: $(cat "$scratch/err")"
grep -q 'learn: ' "$scratch/err" && fail "a resumed run learns again"
[ "$(field learned digest)" = "$(field cut digest)" ] || fail "resumed: another model"

# 5. What does not go together.
set +e
base=(compress "$scratch/recipe.yaml" --model "$model" --out "$scratch/refused" "${learn[@]}")
refuses 2 'rotation.learn needs calibration text' "${base[@]}" --set method=none
refuses 3 'rotation.learn.*rotation.kind quarot' "${base[@]}" --calib "$scratch/text.ids" --set rotation.kind=quarot
refuses 3 'rotation.learn_windows.*at most calibration.windows, 5' "${base[@]}" --calib "$scratch/text.ids" --set rotation.learn_windows=6
refuses 3 'rotation.learn.*false with rotation.file' "${base[@]}" --calib "$scratch/text.ids" --set rotation.file=R.bin
finish
