#!/usr/bin/env bash
# The figures that Pons promises, measured in one run: the solver against a factor per row and against torch, shares of the
# matrix-product peak, the whole job on one core and on two, exponents of the cost, every linear of SmolLM2 against the direct
# solver. About twenty minutes on two idle cores. Writes all results as JSON, prints and writes the table. Short measurements are
# repeated in several rounds, of which the best seconds, peaks and baselines count, because the machine's speed varies.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage="usage: bench-goals.sh [--seeds N] (python3 or \$PONS_PYTHON with torch: also the torch baseline; N: also perplexities of so many
seeds with the default solver and the direct one, six minutes each)"
seeds=0
[ "${1:-}" != --seeds ] || { seeds=${2:-}; shift 2 || die "$usage"; }
[ $# = 0 ] && [[ $seeds =~ ^[0-9]+$ ]] || die "$usage"
results=$PONS_WORK/bench-goals python=${PONS_PYTHON:-python3}
mkdir -p "$results"
rm -rf "$results"/*
[ -x "$PONS_BIN" ] || bash "$PONS_ROOT/jobs/build.sh" release -DPONS_WERROR=OFF
model=$(bash "$PONS_ROOT/jobs/fetch-smollm2.sh" "$PONS_WORK/smollm2")

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # what runs beside

bench() { # NAME ARGUMENT...
  local name=$1
  shift
  say "pons bench $*"
  "$PONS_BIN" bench "$@" --json >"$results/$name.json"
}
launch=() evaluate=(--set evaluate.text=) # what starts ranks; no evaluation
compress() { # NAME THREADS ARGUMENT...
  local name=$1 threads=$2
  shift 2
  say "whole job, ${launch[*]} $threads threads: $*"
  (cd "$PONS_ROOT" && OMP_NUM_THREADS=$threads env "${launch[@]}" "$PONS_BIN" compress configs/smollm2/obr-gptq.yaml "${evaluate[@]}" --model "$model" \
    --calib tests/data/wikitext2-valid.txt --out "$results/$name" --quiet --json "$@" >"$results/$name.json")
}

for k in 0 1; do
  bench solver-bf16-$k solver --rows 4096 --dim 4096 --threads 1 --precision bf16 --repeat 2 --sample 16 --dump "$results/layer.safetensors"
  bench solver-fp32-$k solver --rows 4096 --dim 4096 --threads 1 --precision fp32 --repeat 2 --sample 16
  "$python" -c 'import torch' 2>/dev/null || continue
  say "torch, 1 thread"
  OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 "$python" "$PONS_ROOT/tests/bench/torch_baseline.py" "$results/layer.safetensors" --threads 1 \
    --sample 16 --repeat 2 --json >"$results/torch-$k.json"
done
rm -f "$results/layer.safetensors"
compress keep 2 --set hessians=keep --set calibration.windows=8
for k in 0 1 2; do
  bench gemm-$k gemm --precision bf16 --threads 1 --repeat 5 # what memory leaves of the peak
  for d in 576 1536 4096; do
    bench hessian-$d-$k hessian --dim $d --threads 1 --repeat 20
    bench gptq-$d-$k gptq --rows 1024 --dim $d --threads 1 --sample 16
  done
  bench forward-$k forward --model "$model" --threads 1 --repeat 10
  bench down-$k solver --hessian "$results/keep.run/hessians/block-000.h5:down" --rows 576 --threads 1 --sample 16 --repeat 10
done
for k in 0 1; do # in turns, the best of each
  compress one-$k 1
  compress two-$k 2
  launch=(mpirun -n 2)
  compress ranks-$k 1
  launch=()
  compress pair-$k-a 1 & pair=$! # what two cores of this machine do at most: jobs that share nothing but the memory
  compress pair-$k-b 1
  wait $pair
  rm -rf "$results"/{one,two,ranks,pair}-$k*/
done
bench layers layers --run "$results/keep.run" --model "$model" --sample 8
rm -rf "$results"/keep{,.run}
bench sweep-dim solver --sweep dim --to 8192 --rows 256 --repeat 1 --sample 2
bench sweep-rows solver --sweep rows --to 4096 --repeat 2 --sample 4
evaluate=()
for ((k = 0; k < seeds; k++)); do
  compress seed-auto-$k 2 --set seed=$k
  compress seed-direct-$k 2 --set seed=$k --set obr.solver=direct
  rm -rf "$results"/seed-{auto,direct}-$k{,.run}
done
python3 "$PONS_ROOT/jobs/bench_goals.py" "$results" | tee "$results/goals.md"
say "the table is in $results/goals.md"
