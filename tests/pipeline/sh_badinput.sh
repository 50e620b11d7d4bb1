#!/usr/bin/env bash
# Bad input: one clear line naming the file or field, a non-zero exit within seconds at one and at three ranks, and, as no
# block was finished, neither OUT, nor its staging folder, nor a state directory left behind.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"

models=$PONS_FIXTURES/models
out=$scratch/out-model
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/calib.ids"
cat >"$scratch/recipe.yaml" <<'YAML'
method: obr_gptq
calibration: {windows: 4, length: 32}
YAML

# attempt CODE PATTERN ARGUMENT...: pons compress with these arguments and --out must refuse and leave nothing.
attempt() {
  local code=$1 pattern=$2 left
  shift 2
  refuses "$code" "$pattern" --quiet compress "$@" --out "$out"
  for left in "$out" "$out.part" "$out.run"; do
    [ -e "$left" ] && fail "pons compress $*: left ${left##*/} behind" && rm -rf "$left"
  done
  return 0
}

# with_model CODE PATTERN FOLDER: a recipe and a calibration that are fine, a model that is not.
with_model() { attempt "$1" "$2" "$scratch/recipe.yaml" --model "$3" --calib "$scratch/calib.ids"; }
# with_recipe CODE PATTERN ARGUMENT...: a recipe from stdin or arguments, all else fine.
with_recipe() {
  local code=$1 pattern=$2
  shift 2
  cat >"$scratch/bad.yaml"
  attempt "$code" "$pattern" "$scratch/bad.yaml" --model "$models/llama-gqa" --calib "$scratch/calib.ids" "$@"
}
copy() { # copy MODEL NAME: a writable copy, its path in $copy
  copy=$scratch/$2
  cp -r "$models/$1" "$copy"
  rm -f "$copy/expected.safetensors"
}
# edit FOLDER PYTHON: run PYTHON with c = config.json (written back) and t = tensors of model.safetensors (written back).
edit() {
  PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$1" "$2" <<'PYTHON' || fail "edit of $1"
import json, os, struct, sys
import safetensors
folder, code = sys.argv[1:]
config, weights = folder + "/config.json", folder + "/model.safetensors"
c = json.load(open(config))
t = safetensors.load(weights) if os.path.exists(weights) else None
exec(code)
json.dump(c, open(config, "w"))
if t is not None:
    safetensors.save(weights, t)
PYTHON
}

# ---- the same input, unbroken, is accepted: what follows is refused for the reason given, not for another
on 1 --quiet compress "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/calib.ids" --out "$out" ||
  fail "the unbroken input is refused: $(cat "$scratch/err")"
rm -rf "$out" "$out.run"

# ---- files that are missing, short or broken
with_model 6 "$scratch/nowhere" "$scratch/nowhere"
attempt '2|6' "$scratch/nothing.ids" "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/nothing.ids"
attempt 6 "$scratch/nothing.yaml" "$scratch/nothing.yaml" --model "$models/llama-gqa" --calib "$scratch/calib.ids"
attempt 2 'calib' "$scratch/recipe.yaml" --model "$models/llama-gqa"

copy llama-gqa truncated
shard=model-00002-of-00004.safetensors
head -c $(($(stat -c %s "$copy/$shard") - 100)) "$copy/$shard" >"$copy/cut" && mv "$copy/cut" "$copy/$shard"
with_model 4 "$shard" "$copy"
: >"$copy/$shard"
with_model 4 "$shard" "$copy"
rm "$copy/$shard"
with_model '4|6' "$shard" "$copy"

copy llama-gqa index
python3 - "$copy/model.safetensors.index.json" <<'PYTHON'
import json, sys
index = json.load(open(sys.argv[1]))
index["weight_map"]["model.layers.1.mlp.extra.weight"] = "model-00001-of-00004.safetensors"
json.dump(index, open(sys.argv[1], "w"))
PYTHON
with_model 4 'model.layers.1.mlp.extra.weight' "$copy"

copy mistral-headdim json
echo '{"architectures": [' >"$copy/config.json"
with_model 4 'config.json' "$copy"
rm "$copy/config.json"
with_model '4|6' 'config.json' "$copy"

head -c 4096 /dev/zero >"$scratch/model.gguf"
with_model 4 'model.gguf' "$scratch/model.gguf"
if [ -n "${PONS_SMOLLM2:-}" ]; then
  head -c 20000000 "$PONS_SMOLLM2" >"$scratch/short.gguf"
  with_model 4 'short.gguf' "$scratch/short.gguf"
fi

# ---- tensors that are not what the architecture needs
copy mistral-headdim missing-tensor
edit "$copy" 'del t["model.layers.0.mlp.up_proj.weight"]'
with_model 4 'model.layers.0.mlp.up_proj.weight' "$copy"
copy mistral-headdim shape
edit "$copy" 'n = "model.layers.1.self_attn.o_proj.weight"; d, s, b = t[n]; t[n] = (d, s[::-1], b) if s[0] != s[1] else (d, [s[0] * 2, s[1] // 2], b)'
with_model '4|10' 'model.layers.1.self_attn.o_proj.weight' "$copy"
copy mistral-headdim dtype
edit "$copy" 'n = "model.layers.0.mlp.up_proj.weight"; d, s, b = t[n]; t[n] = ("I8", [s[0], len(b) // s[0]], b)'
with_model '4|5|10' 'model.layers.0.mlp.up_proj.weight' "$copy"
for value in nan inf; do
  copy mistral-headdim $value
  edit "$copy" "
n = 'model.layers.0.mlp.down_proj.weight'; d, s, b = t[n]
one = struct.pack('<f', float('$value'))
one = one if d == 'F32' else one[2:] if d == 'BF16' else struct.pack('<e', float('$value'))
t[n] = (d, s, one + b[len(one):])"
  with_model 4 'model.layers.0.mlp.down_proj' "$copy"
done

# ---- architectures and fields that would change the numbers
copy mistral-headdim architecture
edit "$copy" 'c["architectures"] = ["GemmaForCausalLM"]; c["model_type"] = "gemma"'
with_model 5 '[Gg]emma' "$copy"
copy mistral-headdim activation
edit "$copy" 'c["hidden_act"] = "gelu"'
with_model 5 'hidden_act.*gelu' "$copy"
copy mistral-headdim rope
edit "$copy" 'c.pop("rope_parameters", None); c["rope_theta"] = 10000.0; c["rope_scaling"] = {"rope_type": "yarn", "factor": 4.0}'
with_model 5 'yarn' "$copy"

# ---- texts
: >"$scratch/empty.ids"
attempt 4 'empty.ids' "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/empty.ids"
echo 1 2 3 >"$scratch/short.ids"
attempt 4 'short.ids' "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/short.ids"
python3 -c "print(*[70000] * 500)" >"$scratch/range.ids"
attempt 4 '70000' "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/range.ids"

# ---- recipes
with_recipe 3 'bad.yaml:2.*calibration.window.*nearest.*calibration.windows' <<'YAML'
method: obr_gptq
calibration: {window: 4, length: 32}
YAML
with_recipe 3 'pruning.*nearest.*prune' --set pruning.sparsity=0.5 <<<'method: obr_gptq'
with_recipe 3 'prune.sparsity.*rtn' <<'YAML'
method: rtn
prune: {sparsity: 0.5}
YAML
with_recipe 3 'rotation.center_embedding' <<'YAML'
rotation: {kind: none, center_embedding: true}
YAML
with_recipe 3 'prune.sparsity.*1.5' --set prune.sparsity=1.5 <<<'method: obr_gptq'
with_recipe 3 'bad.yaml' <<<'method: [obr_gptq'
with_recipe 3 'output.format' <<'YAML'
method: wanda
output: {format: pack-quantized}
YAML

# ---- an output that exists is left as it is
mkdir "$out"
echo mine >"$out/file"
refuses 7 "$out" --quiet compress "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/calib.ids" --out "$out"
[ "$(cat "$out/file")" = mine ] || fail "an existing output directory was touched"
[ -e "$out.part" ] || [ -e "$out.run" ] && fail "something is left beside an existing output directory"
rm -rf "$out"

# ---- a disk that is too full for the first block
disk=$scratch/disk
mkdir "$disk"
if mount -t tmpfs -o size=40k pons "$disk" 2>/dev/null; then
  for ranks in 1 3; do
    on $ranks --quiet compress "$scratch/recipe.yaml" --model "$models/llama-gqa" --calib "$scratch/calib.ids" \
      --out "$scratch/full" --run "$disk/full.run"
    [ $? = 6 ] || fail "full disk (ranks = $ranks): not reported: $(cat "$scratch/err")"
    [ "$(grep '^pons: ' "$scratch/err" | grep -c 'No space left on device')" = 1 ] ||
      fail "full disk (ranks = $ranks): $(cat "$scratch/err")"
    [ "$(find "$disk" -mindepth 1)" = "" ] || fail "full disk: left $(find "$disk" -mindepth 1 | head -n 3)"
    [ -e "$scratch/full" ] || [ -e "$scratch/full.part" ] && fail "full disk: OUT or OUT.part is left"
  done
  umount "$disk"
else
  echo "full disk: not tested (mounting a tmpfs is not permitted)"
fi
finish
