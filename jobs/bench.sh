#!/usr/bin/env bash
# Measure every phase beside its baselines and write one Markdown table.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: bench.sh [--threads "1 2"] [--sweep] [--no-model] [--out FILE] [PONS BENCH OPTION...]

Build, run pons bench all for each number of threads and, where python3 has torch, tests/bench/torch_baseline.py on the same layer
with the same threads; write the table with machine, versions and core type, and print it.

  --threads LIST  numbers of threads (default: 1 and all cores)
  --sweep         also the cost over dim, rows and ranks, and the exponents fitted to it
  --no-model      without the forward pass of SmolLM2-135M-Instruct (which is fetched)
  --out FILE      default: $PONS_WORK/bench/bench.md

Other options go to pons bench all: --rows, --dim, --hessian, --clock cpu, --repeat ... (pons bench --help).
TEXT
}

cores=$(nproc) sweep=0 model=1 out=$PONS_WORK/bench/bench.md options=()
threads=1
[ "$cores" -gt 1 ] && threads="1 $cores"
while [ $# -gt 0 ]; do
  case $1 in
    --threads) [[ ${2:-} =~ ^[1-9][0-9\ ]*$ ]] || die "--threads needs numbers"; threads=$2; shift ;;
    --out) [ $# -gt 1 ] || die "--out needs a file"; out=$2; shift ;;
    --sweep) sweep=1 ;;
    --no-model) model=0 ;;
    --help|-h) usage; exit 0 ;;
    *) options+=("$1") ;;
  esac
  shift
done

results=$PONS_WORK/bench
mkdir -p "$results" "$(dirname "$out")"
rm -f "$results"/*.json "$results"/*.safetensors
[ -x "$PONS_BIN" ] || bash "$PONS_ROOT/jobs/build.sh" release -DPONS_WERROR=OFF
if [ $model = 1 ]; then
  options+=(--model "$(bash "$PONS_ROOT/jobs/fetch-smollm2.sh" "$PONS_WORK/smollm2")")
fi
clock=()
for ((i = 0; i + 1 < ${#options[@]}; i++)); do
  [ "${options[i]}" = --clock ] && clock=(--clock "${options[i + 1]}")
done
has_torch=0
python3 -c 'import torch' 2>/dev/null && has_torch=1

for t in $threads; do
  say "pons bench all, $t threads"
  OMP_NUM_THREADS=$t "$PONS_BIN" bench all --threads "$t" --dump "$results/layer.safetensors" --json "${options[@]}" \
    >"$results/$t.pons.json"
  if [ $has_torch = 1 ]; then
    say "torch, $t threads"
    OPENBLAS_NUM_THREADS=$t OMP_NUM_THREADS=$t python3 "$PONS_ROOT/tests/bench/torch_baseline.py" "$results/layer.safetensors" \
      --threads "$t" --json ${clock[@]+"${clock[@]}"} >"$results/$t.torch.json"
  fi
  rm -f "$results/layer.safetensors"
done
if [ $sweep = 1 ]; then
  for over in dim rows; do
    say "pons bench solver --sweep $over"
    "$PONS_BIN" bench solver --sweep $over --json ${clock[@]+"${clock[@]}"} >"$results/sweep-$over.json"
  done
  for ((ranks = 1; ranks <= cores; ranks *= 2)); do
    say "pons bench solver, $ranks ranks"
    mpirun -n "$ranks" "$PONS_BIN" bench solver --threads 1 --json ${clock[@]+"${clock[@]}"} >"$results/ranks-$ranks.json"
  done
fi
[ $has_torch = 1 ] || say "python3 has no torch: the table is without its rows"
python3 "$PONS_ROOT/jobs/bench_table.py" "$results" >"$out"
cat "$out"
say "the table is in $out"
