#!/usr/bin/env bash
# PONS_ISA: every instruction set that this processor has computes the same fp32 results but for OpenBLAS's products, and
# a set that it lacks, or an unknown name, is refused. Says which sets ran.
# ctest: timeout=300
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(300)))" >"$scratch/text.ids"
ppl=(eval ppl --model "$model" --text "$scratch/text.ids" --windows 4 --length 32 --json)
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[2]))[sys.argv[1]])' "$1" "$scratch/out"; }

ran= lacking= expected=
for isa in avx2 avx512 avx512_bf16 amx; do
  PONS_ISA=$isa on 1 "${ppl[@]}" --compute fp32
  code=$?
  if [ $code = 5 ] && grep -q "^pons: PONS_ISA: found $isa; this processor.* has .* at most" "$scratch/err"; then
    lacking+=" $isa"
    continue
  fi
  [ $code = 0 ] || { fail "PONS_ISA=$isa: exit code $code: $(cat "$scratch/err")"; continue; }
  [ -z "$lacking" ] || fail "PONS_ISA=$isa runs, but not$lacking"
  ran+=" $isa"
  got=$(field perplexity)
  expected=${expected:-$got}
  python3 -c 'import sys; a, b = map(float, sys.argv[1:]); sys.exit(abs(a / b - 1) > 1e-5)' "$got" "$expected" ||
    fail "perplexity with PONS_ISA=$isa: $got, with avx2 $expected"
done
echo "instruction sets that ran:$ran"
case $ran in ' avx2'*) ;; *) fail "avx2 did not run" ;; esac

PONS_ISA=sse9 refuses 2 'PONS_ISA: found sse9; allowed are avx2, avx512, avx512_bf16 and amx' "${ppl[@]}"
finish
