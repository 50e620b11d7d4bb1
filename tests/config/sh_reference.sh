#!/usr/bin/env bash
# pons compress --reference-args: the command lines of the published programs' own instructions, values worked out by hand from their
# options, and what is refused; pons compress --check.
. "$PONS_SOURCE/tests/support/program.sh"

# gives WORDS KEY=VALUE...: the recipe of a command line has these values, and Pons reads it back to the same.
gives() {
  local words=$1 pair
  shift
  on 1 compress --reference-args "$words" || fail "$words: $(cat "$scratch/err")"
  cp "$scratch/out" "$scratch/recipe.yaml"
  for pair in "$@"; do value_is "$pair" "$words"; done
  on 1 compress "$scratch/recipe.yaml" --check || fail "$words: not read back: $(cat "$scratch/err")"
  diff <(grep -v '^#' "$scratch/recipe.yaml") "$scratch/out" >/dev/null || fail "$words: another recipe when read back"
}

# value_is section.key=value: in $scratch/recipe.yaml, sections flattened.
value_is() {
  awk '!/^ / && /:$/ { section = $1; sub(":", ".", section); next } !/^#/ { if (!/^ /) section = ""; key = $1; sub(":$", "", key);
    $1 = ""; sub("^ ", ""); gsub("\"", ""); print section key "=" $0 }' "$scratch/recipe.yaml" | grep -qxF -e "$1" || fail "$2: no $1"
}

gives 'python QuaRot/main.py --model meta-llama/Llama-2-7b-hf --rotate --a_bits 4 --v_bits 4 --k_bits 4 --w_bits 4 --w_clip' \
  method=obr_gptq compat=faithful rotation.kind=quarot rotation.mode=hadamard rotation.center_embedding=true weights.bits=4 weights.clip=mse \
  activations.bits=4 activations.symmetric=true activations.o_proj_head_groups=false kv.bits=4 kv.symmetric=true kv.per_head=false \
  calibration.windows=128 calibration.length=2048 calibration.join=lines prune.sparsity=0.5 obr.alpha=0.5 obr.damping=0.01 output.dtype=f16 \
  evaluate.join=lines evaluate.special=true
gives $'torchrun --nnodes=1 --nproc_per_node=1 ptq.py --input_model m --do_train False --do_eval True --per_device_eval_batch_size 4 \\\n
  --model_max_length 2048 --fp16 False --bf16 True --save_safetensors False --w_bits 4 --a_bits 4 --k_bits 4 --v_bits 4 --w_clip --a_asym
  --k_asym --v_asym --k_groupsize 128 --v_groupsize=128 --rotate --optimized_rotation_path "some dir/R.bin" --obr_rtn --sparsity_ratio 0.6' \
  method=obr_rtn compat=faithful rotation.kind=spinquant 'rotation.file=some dir/R.bin' weights.clip=mse activations.symmetric=false \
  activations.o_proj_head_groups=true kv.symmetric=false kv.per_head=true prune.sparsity=0.6 output.dtype=bf16 evaluate.special=false
grep -q '^# --do_train: nothing is trained$' "$scratch/recipe.yaml" || fail "no word of --do_train"
gives 'quarot --prune_n 2 --prune_m 4.0 --seed 7 --nsamples 16 --percdamp .05 --a_groupsize 64 --int8_down_proj --obr_alpha 0.25 --obr_rtn' \
  seed=7 prune.pattern=2:4 calibration.windows=16 obr.damping=0.05 activations.group_size=64 int8_down_proj=true obr.alpha=0.25 \
  method=obr_rtn compat=faithful rotation.kind=none
gives 'quarot --rotate --rotate_mode random --obr_alpha=0.75 --act_order' method=obr_gptq compat=corrected obr.alpha=0.75 rotation.mode=random \
  rotation.center_embedding=true
grep -q '^# --act_order: their OBR ignores it; .*obr.act_order: true' "$scratch/recipe.yaml" || fail "no word of --act_order"
gives 'quarot --k_bits 8 --v_bits 3 --k_asym --v_groupsize 128 --k_clip_ratio 0.95' kv.bits=8 kv.symmetric=false kv.per_head=false \
  kv.clip_ratio=0.95 values.bits=3 values.symmetric=true values.per_head=true values.clip_ratio=1
gives 'spinquant --k_bits 4' kv.bits=4 kv.per_head=false values.bits=16 values.per_head=true
gives 'spinquant --a_bits 8 --bf16 False' method=none compat=faithful activations.bits=8 kv.bits=16 rotation.kind=none output.dtype=f16
gives 'python FlatQuant/main.py --model Qwen/Qwen2.5-7B-Instruct --w_bits 4 --a_bits 4 --k_bits 4 --v_bits 4 --k_asym --v_asym
  --k_groupsize 128 --v_groupsize 128 --lwc --lac --cali_trans --add_diag --reload_matrix --matrix_path "a dir"' \
  method=obr_gptq compat=faithful rotation.kind=flatquant 'rotation.file=a dir/flat_matrices.pth' weights.clip=none calibration.join=stripped \
  activations.symmetric=true activations.o_proj_head_groups=false kv.symmetric=false kv.per_head=true output.dtype=bf16 evaluate.special=true

refused() { refuses 2 "$2" compress --reference-args "$1"; }
refused 'main.py --w_bitz 4' "an option '--w_bitz'"
refused 'quarot --lwc' "QuaRot has no option '--lwc'"
on 1 compress --reference-args 'quarot --model' && fail "a missing value is accepted"
on 1 compress --reference-args 'quarot --rotate=1' && fail "a flag takes a value"
on 1 compress --reference-args 'main.py --seed 1' && fail "a program is guessed"
grep -q 'choose one with --reference' "$scratch/err" || fail "no mention of --reference: $(cat "$scratch/err")"
on 1 compress --reference spinquant --reference-args 'main.py --seed 1' || fail "--reference: $(cat "$scratch/err")"
for words in 'quarot --w_asym' 'quarot --cal_dataset c4' 'quarot --k_pre_rope' \
  'flatquant --lwc --lac' 'flatquant --q_bits 4' 'flatquant --a_groupsize 64' 'quarot --percdamp x'; do
  on 1 compress --reference-args "$words" && fail "accepted: $words"
  grep -q "^pons: .*--" "$scratch/err" || fail "$words: $(cat "$scratch/err")"
done
refuses 3 'weights.bits: found 9' compress --reference-args 'quarot --w_bits 9'
refuses 2 '--reference-args excludes' compress "$scratch/recipe.yaml" --reference-args 'quarot --seed 1'
on 1 compress "$scratch/recipe.yaml" --check --set seed=9 && grep -q '^seed: 9$' "$scratch/out" || fail "--check with --set"
finish
