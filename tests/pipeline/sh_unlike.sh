#!/usr/bin/env bash
# Ranks on unlike processors: when one has no bf16 products, all compute in fp32, and one alone is not asked for bf16.
# ctest: timeout=120
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/text.ids"
cat >"$scratch/recipe.yaml" <<YAML
method: obr_gptq
calibration: {windows: 4, length: 32}
evaluate: {text: $scratch/text.ids, windows: 4, length: 32}
YAML
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[2]))[sys.argv[1]])' "$1" "$scratch/out"; }
one=(--quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/text.ids" --out "$scratch/model" --force --json)
ppl=(--quiet eval ppl --model "$model" --text "$scratch/text.ids" --windows 4 --length 32 --json)
# unlike ARGUMENT...: two ranks, the first one kept to the instructions $isa; AVX2 has no bf16.
isa=AVX2
unlike() {
  timeout 60 mpirun -n 1 -x ONEDNN_MAX_CPU_ISA=$isa "$PONS_BIN" "$@" : -n 1 "$PONS_BIN" "$@" \
    >"$scratch/out" 2>"$scratch/err"
}

on 2 "${one[@]}" --set compute=fp32 || fail "compute=fp32: $(cat "$scratch/err")"
expected=$(field digest) digest=$expected
unlike "${one[@]}" || fail "unlike ranks: $(cat "$scratch/err")"
[ "$(field digest)" = "$expected" ] || fail "compress on unlike ranks is not that in fp32"

on 2 "${ppl[@]}" --compute fp32 || fail "eval ppl in fp32: $(cat "$scratch/err")"
expected=$(field perplexity)
unlike "${ppl[@]}" || fail "eval ppl on unlike ranks: $(cat "$scratch/err")"
[ "$(field perplexity)" = "$expected" ] || fail "eval ppl on unlike ranks is not that in fp32"

# Ranks whose fp32 products differ are refused at the start.
other=Haswell
"$PONS_BIN" bench gemm --dim 64 --rows 64 2>/dev/null | grep -q 'OpenBLAS [0-9.]* Haswell' && other=Nehalem
timeout 60 mpirun -n 1 "$PONS_BIN" "${ppl[@]}" : -n 1 -x OPENBLAS_CORETYPE=$other "$PONS_BIN" "${ppl[@]}" >"$scratch/out" 2>"$scratch/err"
code=$?
[ $code = 5 ] && grep -q "^pons: rank 1: arithmetic: found .*$other.*, on rank 0 " "$scratch/err" ||
  fail "ranks with unlike fp32 products: exit code $code: $(cat "$scratch/err")"

# The iterative solver: fp32 is made of bf16 terms where all ranks have tiles, not where one has none.
dual=(--set compute=fp32 --set obr.solver=dual)
ONEDNN_MAX_CPU_ISA=AVX2 on 2 "${one[@]}" "${dual[@]}" || fail "dual without bf16: $(cat "$scratch/err")"
expected=$(field digest)
unlike "${one[@]}" "${dual[@]}" || fail "dual on unlike ranks: $(cat "$scratch/err")"
[ "$(field digest)" = "$expected" ] || fail "the dual solver on unlike ranks is not that without bf16"
# What was begun without them does not go on with them: the processor of rank 0, which has tiles, is the same.
if grep -q amx_bf16 /proc/cpuinfo; then
  rm -rf "$scratch"/model*
  begun=("${one[@]}" "${dual[@]}" --set obr.precision=fp32 --set checkpoint.blocks=1)
  PONS_FAULT=block.stop:0:6 timeout 60 mpirun -n 1 "$PONS_BIN" "${begun[@]}" : -n 1 -x ONEDNN_MAX_CPU_ISA=AVX2 "$PONS_BIN" "${begun[@]}" \
    >"$scratch/out" 2>"$scratch/err"
  code=$?
  [ $code = 99 ] && grep -q '1 of [0-9]* blocks are finished' "$scratch/err" || fail "a stop on unlike ranks: exit code $code: $(cat "$scratch/err")"
  on 2 "${begun[@]/--force/--resume}" && fail "what unlike ranks began is resumed by like ones"
  grep -q '^pons: .* is not the same: .*solver fp32, .* then, .*solver fp32 of bf16 terms, .* now' "$scratch/err" ||
    fail "resumed by like ranks: $(cat "$scratch/err")"
fi

# Both ranks have bf16 products, of unlike bits: rank 0 is kept from the newest instructions that this processor has for
# them. A processor that has them in one form only, or not at all, has no such pair.
isa=
if grep -q amx_bf16 /proc/cpuinfo; then
  isa=AVX512_CORE_BF16
elif grep -q avx512_bf16 /proc/cpuinfo; then
  isa=AVX512_CORE
fi
if [ -n "$isa" ]; then
  unlike "${one[@]}" || fail "bf16 unlike: $(cat "$scratch/err")"
  [ "$(field digest)" = "$digest" ] || fail "compress on ranks with unlike bf16 products is not that in fp32"
  for what in "${ppl[*]}" "eval tasks --model $model --task piqa=$scratch/text.ids"; do
    # shellcheck disable=SC2086 # words without spaces
    unlike $what --compute bf16
    code=$?
    [ $code = 5 ] && [ "$(grep -c '^pons: .*--compute bf16 needs .* the same on every rank' "$scratch/err")" = 1 ] ||
      fail "$what --compute bf16 on ranks with unlike bf16 products: exit code $code: $(cat "$scratch/err")"
  done
else
  echo "not tested on this processor: ranks whose bf16 products differ"
fi
isa=AVX2

unlike "${one[@]}" --set compute=bf16
[ $? = 5 ] || fail "compute=bf16 with a rank that has none: $(cat "$scratch/err")"
unlike "${ppl[@]}" --compute bf16
[ $? = 5 ] || fail "eval ppl --compute bf16 with a rank that has none: $(cat "$scratch/err")"
finish
