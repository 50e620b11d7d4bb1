#!/usr/bin/env bash
# FlatQuant: one packed result for any number of ranks, whose transforms stand beside the weights so that evaluation finds the
# perplexity that was measured while compressing; bad matrices and settings that do not fit are refused in one line.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
good=$PONS_FIXTURES/frameworks/llama-gqa-flatquant/flat_matrices.pth
out=$scratch/out-model
bad=$scratch/bad.pth
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/text.ids"
cat >"$scratch/recipe.yaml" <<YAML
method: obr_gptq
compute: fp32
calibration: {windows: 4, length: 32}
rotation: {kind: flatquant, file: $good}
weights: {clip: none}
activations: {symmetric: true}
checkpoint: {blocks: 0}
evaluate: {text: $scratch/text.ids, windows: 2, length: 64}
YAML
compress=(--quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/text.ids" --out "$out")

# number FILE KEY...: a value of a JSON file
number() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[k]
print("%.9g" % v if isinstance(v, float) else v)' "$@"; }

# ---- the run, on one rank and on three; the online transforms are there when the output is evaluated
for ranks in 1 3; do
  rm -rf "$out" "$out.run"
  on $ranks "${compress[@]}" --json || fail "ranks = $ranks: $(cat "$scratch/err")"
  number "$scratch/out" digest >>"$scratch/digests"
  full=$(number "$out/pons.json" perplexity full)
  weights=$(number "$out/pons.json" perplexity weights_only)
done
[ "$(sort -u "$scratch/digests" | wc -l)" = 1 ] || fail "digests differ: $(cat "$scratch/digests")"
[ "$full" != "$weights" ] || fail "activations were not quantized"
evaluate=(--quiet eval ppl --model "$out" --text "$scratch/text.ids" --windows 2 --length 64 --compute fp32 --json)
for ranks in 1 2; do
  on $ranks "${evaluate[@]}" || fail "eval: $(cat "$scratch/err")"
  [ "$(number "$scratch/out" perplexity)" = "$full" ] || fail "eval (ranks = $ranks): $(cat "$scratch/out"), not $full"
done
on 1 "${evaluate[@]}" --weights-only || fail "eval --weights-only: $(cat "$scratch/err")"
[ "$(number "$scratch/out" perplexity)" = "$weights" ] || fail "eval --weights-only: $(cat "$scratch/out"), not $weights"

# ---- cut off after a block: the streams pass through it again, transforms and all
cp -r "$out" "$scratch/whole"
python3 - "$out" <<'PYTHON'
import json, os, shutil, sys
out = sys.argv[1]
lines = []
for line in open(out + ".run/journal.jsonl"):
    lines.append(line)
    if json.loads(line)["event"] == "block":
        break
open(out + ".run/journal.jsonl", "w").write("".join(lines))
os.mkdir(out + ".part")
shutil.rmtree(out)
PYTHON
on 2 "${compress[@]}" --resume || fail "--resume: $(cat "$scratch/err")"
diff -r "$scratch/whole" "$out" >"$scratch/diff" || fail "--resume: $(cat "$scratch/diff")"

# ---- without pruning and rounding, weights and activations, only the clipping changes the function: all but the dense model's
dense() { # dense NAME KEY ARGUMENT...: perplexity of that kind of the dense model under these settings, to NAME
  local -n result=$1
  local key=$2
  shift 2
  rm -rf "$scratch/dense" "$scratch/dense.run"
  on 1 --quiet compress "$scratch/recipe.yaml" --model "$model" --out "$scratch/dense" --set method=none --set output.dtype=f32 "$@" ||
    fail "dense: $(cat "$scratch/err")"
  # shellcheck disable=SC2034
  result=$(number "$scratch/dense/pons.json" perplexity "$key")
}
dense sixteen weights_only --set activations.bits=16 --set kv.bits=16
dense eight full --set activations.bits=8 --set kv.bits=8
on 1 --quiet eval ppl --model "$model" --text "$scratch/text.ids" --windows 2 --length 64 --compute fp32 --json
python3 -c 'import sys
dense, sixteen, eight = map(float, sys.argv[1:])
assert abs(sixteen / dense - 1) < 0.05, (dense, sixteen)
assert 1e-7 < abs(eight / sixteen - 1) < 0.05, (sixteen, eight)' "$(number "$scratch/out" perplexity)" "$sixteen" "$eight" ||
  fail "dense and 16 bits"

# ---- the file beside the weights is part of the model
mv "$out/pons-transforms.safetensors" "$scratch/kept"
refuses 6 'pons-transforms.safetensors' "${evaluate[@]}"
head -c 9000 "$scratch/kept" >"$out/pons-transforms.safetensors"
refuses 4 'pons-transforms.safetensors' "${evaluate[@]}"
PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$scratch/kept" "$out/pons-transforms.safetensors" <<'PYTHON'
import sys, safetensors
t = safetensors.load(sys.argv[1])
del t["model.layers.1.transforms.key"]
safetensors.save(sys.argv[2], t)
PYTHON
refuses 4 'model.layers.1.transforms.key is missing' "${evaluate[@]}"
rm -rf "$out" "$out.run"

# ---- matrices that cannot be used
# attempt CODE PATTERN ARGUMENT...: refused, and nothing is left.
attempt() {
  local code=$1 pattern=$2 left
  shift 2
  refuses "$code" "$pattern" "${compress[@]}" "$@"
  for left in "$out" "$out.part" "$out.run"; do
    [ -e "$left" ] && fail "$*: left ${left##*/} behind" && rm -rf "$left"
  done
  return 0
}
# with_edit CODE PATTERN PYTHON: bad.pth is the good file with m, the dictionary of layers, changed by PYTHON.
with_edit() {
  PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$good" "$bad" "$3" <<'PYTHON' || fail "edit: $3"
import sys
from torch_file import Tensor, load, save
m = load(sys.argv[1])
exec(sys.argv[3])
save(sys.argv[2], m)
PYTHON
  attempt "$1" "$2" --set "rotation.file=$bad"
}
with_edit 4 'layer 1: self_attn.kcache_trans.matrix is singular' \
  'v = m[1]["self_attn.kcache_trans.matrix"].values; v[16:32] = v[0:16]'
with_edit 4 'layer 0: mlp.down_trans.matrix_left is singular or mlp.down_trans.matrix_left_inv not the transpose of its inverse' \
  'm[0]["mlp.down_trans.matrix_left_inv"].values[3] += 0.5'
with_edit 4 'layer 2: self_attn.ln_trans.diag_scale: element 7 is 0' 'm[2]["self_attn.ln_trans.diag_scale"].values[7] = 0.0'
with_edit 4 'layer 0: self_attn.o_trans.matrix: element 0 is nan' 'm[0]["self_attn.o_trans.matrix"].values[0] = float("nan")'
with_edit 4 'layer 1: mlp.up_proj.clip_factor_w_max is missing' 'del m[1]["mlp.up_proj.clip_factor_w_max"]'
with_edit 5 'layer 0: found the entry self_attn.q_trans.matrix' 'm[0]["self_attn.q_trans.matrix"] = m[0]["self_attn.o_trans.matrix"]'
with_edit 10 'layer 0: mlp.up_gate_trans.matrix_right: found 2 dimensions, \[8, 8\], needed 2: \[12, 12\]' \
  'm[0]["mlp.up_gate_trans.matrix_right"] = m[0]["mlp.up_gate_trans.matrix_left"]'
with_edit 4 'found a dictionary with 2 entries, needed: .* 3 layers' 'del m[2]'
with_edit 4 'layer 2 is missing' 'm[5] = m.pop(2)'
head -c 60000 "$good" >"$bad"
attempt 4 'bad.pth: damaged or truncated zip archive' --set "rotation.file=$bad"
attempt 4 'found a dictionary with 4 entries' --set "rotation.file=${good%/*/*}/llama-gqa-spinquant/R.bin"

finish
