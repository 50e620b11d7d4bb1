#!/usr/bin/env bash
# Limits of the process: thread counts that cannot be started are refused before they are tried, and a limit on the
# address space (ulimit -v, vmem of batch systems) ends in a line and exit code 8, never in a hang.
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/t.ids"
cat >"$scratch/recipe.yaml" <<'YAML'
method: obr_gptq
calibration: {windows: 4, length: 32}
YAML

for threads in 1000000000 50000 5000; do
  OMP_NUM_THREADS=$threads refuses 2 "OMP_NUM_THREADS: found $threads threads, allowed: 1 to [0-9]+ " \
    eval ppl --model "$model" --text "$scratch/t.ids" --length 64
done
OMP_NUM_THREADS=100000 refuses 2 'OMP_NUM_THREADS: found 100000' compress "$scratch/recipe.yaml" --model "$model" \
  --calib "$scratch/t.ids" --out "$scratch/o"
for left in o o.part o.run; do [ -e "$scratch/$left" ] && fail "100000 threads: $left is left"; done
refuses 2 '--threads' bench gemm --threads 100000
OMP_NUM_THREADS=3 on 1 eval ppl --model "$model" --text "$scratch/t.ids" --length 64 || fail "3 threads: $(cat "$scratch/err")"

refused=0 passed=0
for threads in 1 2; do
  for limit in 200000 300000 350000 400000 500000 600000 700000 2000000; do
    rm -rf "$scratch"/o*
    (
      ulimit -v $limit
      OMP_NUM_THREADS=$threads timeout -k 1 15 "$PONS_BIN" -q compress "$scratch/recipe.yaml" --model "$model" \
        --calib "$scratch/t.ids" --out "$scratch/o" >"$scratch/out" 2>"$scratch/err"
    )
    code=$?
    case $code in
      0) passed=$((passed + 1)) ;;
      8)
        refused=$((refused + 1))
        [ "$(grep -c '^pons: ' "$scratch/err")" = 1 ] || fail "ulimit -v $limit: $(cat "$scratch/err")"
        ;;
      124 | 137 | 99) fail "ulimit -v $limit, $threads threads: hangs" ;;
      *) ;; # MPI or a thread library ended the process with its own message
    esac
  done
done
[ $refused -ge 2 ] || fail "no limit was refused by name"
[ $passed -ge 2 ] || fail "no limit was enough"
finish
