#!/usr/bin/env bash
# Numbers of a model that cannot be compressed: found before the first block where that is cheap, and the line names the cause.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
export PYTHONPATH=$PONS_SOURCE/tests/support PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1
tiny=$PONS_FIXTURES/cases/tiny two=$PONS_FIXTURES/models/qwen2-bias-tied
python3 -c "print(*((7 * i * i + i) % 40 for i in range(500)))" >"$scratch/calib.ids"
printf 'method: obr_gptq\ncalibration: {windows: 4, length: 64}\nrotation: {online: false}\n' >"$scratch/plain.yaml"
cat >"$scratch/dense-f16.yaml" <<'YAML'
method: obr_gptq
calibration: {windows: 4, length: 64}
rotation: {kind: none}
activations: {bits: 16}
kv: {bits: 16}
output: {format: dense, dtype: f16}
YAML
printf 'method: obr_gptq\ncalibration: {windows: 4, length: 64}\nrotation: {hadamard_dtype: f16}\n' >"$scratch/hadamard-f16.yaml"

# model FROM PYTHON: a copy in $scratch/m; PYTHON sees t (name -> array of floats), put(name, element, value), scale(name, factor[, row]).
model() {
  rm -rf "$scratch/m"
  mkdir "$scratch/m"
  cp "$1/config.json" "$scratch/m"
  python3 - "$1" "$scratch/m" "$2" <<'PYTHON' || fail "model $1: $2"
import array, sys
import safetensors
stored = safetensors.load(sys.argv[1] + "/model.safetensors")
t = {name: safetensors.numbers(x) for name, x in stored.items()}
def put(name, element, value):
    t[name][element] = value
def scale(name, factor, row=None):
    cols = stored[name][1][-1]
    for i in range(len(t[name])) if row is None else range(row * cols, (row + 1) * cols):
        t[name][i] *= factor
nan, inf = float("nan"), float("inf")
exec(sys.argv[3])
safetensors.save(sys.argv[2] + "/model.safetensors", {n: ("F32", stored[n][1], array.array("f", x).tobytes()) for n, x in t.items()})
PYTHON
}
# attempt CODE PATTERN RECIPE: refused before the first block, so nothing is left and nothing is said of --resume.
attempt() {
  refuses "$1" "$2" -q compress "$scratch/$3.yaml" --model "$scratch/m" --calib "$scratch/calib.ids" --out "$scratch/o"
  for left in o o.part o.run; do
    [ -e "$scratch/$left" ] && fail "$2: $left is left" && rm -rf "$scratch/$left"
  done
  grep -q -e --resume "$scratch/err" && fail "$2: a hint to --resume"
  return 0
}

model "$tiny" 'put("lm_head.weight", 3 * 32 + 3, nan)'
attempt 4 'tensor lm_head.weight holds NaN or Inf in row 3' plain
model "$tiny" 'put("model.norm.weight", 31, inf)'
attempt 4 'tensor model.norm.weight holds NaN or Inf' plain
model "$tiny" 'put("model.embed_tokens.weight", 39 * 32, nan)'
attempt 4 'tensor model.embed_tokens.weight holds NaN or Inf in row 39' plain
last=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["num_hidden_layers"] - 1)' "$two/config.json")
for name in input_layernorm.weight post_attention_layernorm.weight self_attn.v_proj.bias; do
  model "$two" "put('model.layers.$last.$name', 0, nan)"
  attempt 4 "tensor model.layers.$last.$name holds NaN or Inf" plain
done
# a linear of a later block is read when its turn comes: resuming would only read it again
model "$two" "put('model.layers.$last.mlp.up_proj.weight', 0, nan)"
on 1 -q compress "$scratch/plain.yaml" --model "$scratch/m" --calib "$scratch/calib.ids" --out "$scratch/o"
[ $? = 4 ] || fail "NaN in the last block: $(cat "$scratch/err")"
grep -q "model.layers.$last.mlp.up_proj.weight holds NaN or Inf in row 0" "$scratch/err" || fail "$(cat "$scratch/err")"
grep -q -e --resume "$scratch/err" && fail "a hint to --resume behind a bad input: $(cat "$scratch/err")"
rm -rf "$scratch"/o*

# ---- beyond f16
model "$tiny" 'scale("model.embed_tokens.weight", 1e5)'
attempt 9 'tensor model.embed_tokens.weight, row 0: [-0-9.e+]+ does not fit output.dtype f16 \(largest 65504\)' dense-f16
model "$tiny" 'scale("lm_head.weight", 1e6, 7)'
attempt 9 'tensor lm_head.weight, row 7: ' dense-f16
model "$tiny" 'put("model.layers.0.mlp.down_proj.weight", 64 * 5, 7e4)'
attempt 9 'tensor block 0 down_proj, row 5: .* does not fit output.dtype f16' dense-f16
model "$tiny" 'scale("model.layers.0.mlp.gate_proj.weight", 300, 4); scale("model.layers.0.mlp.up_proj.weight", 300, 4)'
attempt 9 'block 0 down: (rank 0: )?calibration window 0: .*; rotation.hadamard_dtype f16 holds numbers up to 65504' hadamard-f16
model "$tiny" 'put("lm_head.weight", 0, 65504.0)'
on 1 -q compress "$scratch/dense-f16.yaml" --model "$scratch/m" --calib "$scratch/calib.ids" --out "$scratch/o" || fail "65504: $(cat "$scratch/err")"
rm -rf "$scratch"/o*

# ---- next to zero
for power in 20 30; do
  model "$tiny" "scale('model.embed_tokens.weight', 1e-$power)"
  attempt 9 'block 0 [a-z_]*: the inputs of the layer are so small that their Hessian is lost in fp32' plain
done
finish
