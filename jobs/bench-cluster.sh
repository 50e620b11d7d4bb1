#!/usr/bin/env bash
# Scaling, measured in one run on one machine: ranks, waves, memory per rank against the plan, the distributed
# factor against LAPACK, schedules of a 70B model. Writes all results as JSON and prints one Markdown table with the goals.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: bench-cluster.sh [--only "PART..."] [--windows N] [--length S] [--repeat N] [--seeds "0 1 2"] [--dims "8192 28672"]
                        [--factor D] [--out FILE]

Measure, on two idle cores in over an hour (the memory of the widest layer takes most of it):

  ranks     the whole SmolLM2 job on 1 and on 2 ranks of one thread: speed-up and efficiency of each phase, beside what two separate
            jobs at once show, in turns, the best of each; with another run, what keeping Hessians costs
  wave      wave 4 against wave 1 on four ranks: mean perplexity of the seeds, idle share of each team
  memory    bytes per rank of one layer of a 70B model on 1, 2 and 4 ranks, against the plan
  factor    the inverse Cholesky factor on two ranks: ours, ScaLAPACK, LAPACK on the same two cores
  simulate  schedules of a 70B model on 8, 64 and 256 ranks

  --only PARTS   some of them (default: all)
  --windows N    calibration windows of ranks and wave (default: the recipe's 32)
  --length S     tokens of each (default: 2048)
  --repeat N     runs of each job of ranks (default: 3)
  --seeds LIST   of wave (default: "0 1 2")
  --dims LIST    widths of memory (default: 8192 28672, which needs 20 GB)
  --factor D     width of factor (default: 8192)
  --out FILE     default: $PONS_WORK/bench-cluster/cluster.md
TEXT
}

parts="ranks wave memory factor simulate" windows=32 length=2048 repeat=3 seeds="0 1 2" dims="8192 28672" factor=8192
results=$PONS_WORK/bench-cluster
out=$results/cluster.md
while [ $# -gt 0 ]; do
  case $1 in
  --help | -h) usage; exit 0 ;;
  --only | --windows | --length | --repeat | --seeds | --dims | --factor | --out) [ $# -gt 1 ] || die "$1 needs a value" ;;
  *) usage >&2; exit 2 ;;
  esac
  case $1 in
  --only) parts=$2 ;;
  --windows) windows=$2 ;;
  --length) length=$2 ;;
  --repeat) repeat=$2 ;;
  --seeds) seeds=$2 ;;
  --dims) dims=$2 ;;
  --factor) factor=$2 ;;
  --out) out=$2 ;;
  esac
  shift 2
done
for part in $parts; do
  case $part in ranks | wave | memory | factor | simulate) ;; *) die "--only: found $part, allowed: ranks wave memory factor simulate" ;; esac
done
[[ $repeat =~ ^[1-9][0-9]*$ ]] || die "--repeat: found $repeat, allowed: 1 or more"
[ -n "${seeds// /}" ] || die "--seeds: found none, allowed: one or more"
wanted() { [[ " $parts " = *" $1 "* ]]; }

mkdir -p "$results" "$(dirname "$out")"
rm -rf "$results"/*.json "$results"/run-*
[ -x "$PONS_BIN" ] || bash "$PONS_ROOT/jobs/build.sh" release -DPONS_WERROR=OFF
export OMP_NUM_THREADS=1
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # what runs beside

compress() { # NAME RANKS ARGUMENT...
  local name=$1 ranks=$2
  shift 2
  say "whole job on $ranks ranks of one thread: $*"
  (cd "$PONS_ROOT" && mpirun -n "$ranks" "$PONS_BIN" compress configs/smollm2/obr-gptq.yaml --model "$model" --calib tests/data/wikitext2-valid.txt \
    --set calibration.windows="$windows" --set calibration.length="$length" --out "$results/run-$name" --quiet --json "$@" >"$results/$name.json")
  rm -rf "$results/run-$name" "$results/run-$name.run"
}
if wanted ranks || wanted wave; then model=$(bash "$PONS_ROOT/jobs/fetch-smollm2.sh" "$PONS_WORK/smollm2"); fi
if wanted ranks; then
  for ((k = 0; k < repeat; k++)); do
    compress ranks-1-$k 1 --set evaluate.text=
    compress ranks-2-$k 2 --set evaluate.text=
    compress pair-$k-a 1 --set evaluate.text= & pair=$! # what the machine gives two cores: jobs that share nothing but its memory
    compress pair-$k-b 1 --set evaluate.text=
    wait $pair
  done
  compress keep 2 --set evaluate.text= --set hessians=keep
fi
if wanted wave; then
  for seed in $seeds; do
    compress wave-1-$seed 4 --set seed="$seed"
    compress wave-4-$seed 4 --set seed="$seed" --set wave=4 --set layout.teams=4
  done
fi

# Llama-2-70B's shape, and one with any width for the plan of one layer.
shape() { # HIDDEN INTERMEDIATE LAYERS HEADS KV_HEADS
  mkdir -p "$results/shape"
  cat >"$results/shape/config.json" <<JSON
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 32000, "hidden_size": $1, "intermediate_size": $2,
 "num_hidden_layers": $3, "num_attention_heads": $4, "num_key_value_heads": $5, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
 "rope_theta": 10000.0, "hidden_act": "silu", "torch_dtype": "bfloat16", "tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2}
JSON
}
if wanted memory; then
  for d in $dims; do
    for ranks in 1 2 4; do
      say "memory: width $d on $ranks ranks"
      mpirun -n $ranks "$PONS_BIN" bench memory --dim "$d" --rows 64 --tokens 512 --windows 4 --threads 1 --quiet --json \
        >"$results/memory-$d-$ranks.json"
      shape 64 "$d" 1 1 1 # the layer is its down_proj, as many rows
      "$PONS_BIN" plan "$PONS_ROOT/configs/smollm2/obr-gptq.yaml" --model "$results/shape" --ranks $ranks --threads 1 --json \
        --set calibration.windows=4 --set calibration.length=512 --set evaluate.text= >"$results/plan-$d-$ranks.json"
    done
  done
fi
if wanted factor; then
  say "factor: width $factor, LAPACK alone on two threads, then all on two ranks"
  "$PONS_BIN" bench factor --dim "$factor" --threads 2 --quiet --json >"$results/factor-1.json"
  mpirun -n 2 "$PONS_BIN" bench factor --dim "$factor" --threads 1 --quiet --json >"$results/factor-2.json"
fi
if wanted simulate; then
  shape 8192 28672 80 64 8
  "$PONS_BIN" plan "$PONS_ROOT/configs/smollm2/obr-gptq.yaml" --model "$results/shape" --simulate --threads 8 --set wave=80 \
    --set calibration.windows=128 --set evaluate.text= --json >"$results/simulate.json"
fi
python3 "$PONS_ROOT/jobs/bench_cluster.py" "$results" | tee "$out"
say "the table is in $out"
