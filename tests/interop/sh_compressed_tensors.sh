#!/usr/bin/env bash
# Directories written by pons compress, loaded by transformers with compressed-tensors: same logits, same perplexity.
# $PONS_PYTHON names a Python that has torch, transformers and compressed-tensors (default: python3).
# ctest: label=interop timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
python=${PONS_PYTHON:-python3}
"$python" -c 'import torch, transformers, compressed_tensors' 2>/dev/null || { echo "skipped: $python has no torch, transformers and compressed_tensors"; exit 77; }
"$PONS_BIN" compress --help >/dev/null 2>&1 || { echo "skipped: the program has no compress"; exit 77; }

# The golden models know 320 tokens and no text.
python3 -c 'import random; random.seed(1); print(*(random.randrange(320) for _ in range(4096)))' >"$scratch/text.ids"

echo 'seed: 0' >"$scratch/recipe.yaml"

# made NAME MODEL KEY=VALUE...: compress into $scratch/NAME.
outputs=()
made() {
  local name=$1 model=$2 set=() option
  shift 2
  for option in "$@" calibration.windows=8 calibration.length=64 rotation.online=false activations.bits=16 kv.bits=16 \
    output.dtype=f32; do
    set+=(--set "$option")
  done
  on 2 --quiet compress "$scratch/recipe.yaml" "${set[@]}" --model "$PONS_FIXTURES/models/$model" --calib "$scratch/text.ids" \
    --out "$scratch/$name" || { fail "$name: $(cat "$scratch/err")"; return; }
  outputs+=("$scratch/$name")
}

made w4 llama-gqa method=obr_gptq rotation.kind=quarot
made down8 llama31-rope method=obr_rtn rotation.kind=spinquant int8_down_proj=true
made w3-groups mistral-headdim method=gptq rotation.kind=none weights.bits=3 weights.group_size=32
made asymmetric llama-gqa method=rtn rotation.kind=spinquant weights.symmetric=false
made biased-untied qwen2-bias-tied method=wanda_rtn rotation.kind=spinquant
made tied qwen2-bias-tied method=rtn rotation.kind=none
made qwen3-spinquant ../families/qwen3 method=obr_gptq rotation.kind=spinquant
made qwen3-quarot ../families/qwen3 method=rtn rotation.kind=quarot
made qwen3-none ../families/qwen3 method=obr_rtn rotation.kind=none
made qwen3-dense ../families/qwen3 method=rtn rotation.kind=spinquant output.format=dense
made pruned llama-gqa method=wanda rotation.kind=quarot
made dense llama-gqa method=rtn rotation.kind=spinquant output.format=dense
"$python" "$PONS_SOURCE/tests/interop/load_compressed_tensors.py" "${outputs[@]}" --pons "$PONS_BIN" \
  --text "$scratch/text.ids" --windows 4 --length 128 --golden-model "$PONS_BUILD/tests/golden.model" ||
  fail "transformers does not agree"
finish
