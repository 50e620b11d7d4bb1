#!/usr/bin/env bash
# What each improvement over obr_gptq is worth on a whole model, alone and left out of the best recipe.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: ablation.sh [--short] [--ranks N] [--only REGEX] [--list] [--help]

Compress SmolLM2-135M-Instruct once for each row of the table, then print the table: perplexity, and how much of obr_gptq's
log perplexity over the dense model's is left. A run that is already there is not made again; stop and go on at will.

  --short       16 windows x 1024 instead of the full protocol (32 x 2048, evaluation on 20 x 2048)
  --ranks N     MPI ranks (default 2)
  --only REGEX  rows whose name matches, and those they are compared with
  --list        print the rows and what they change

Reports are kept in PONS_WORK/ablation (now $PONS_WORK/ablation).
TEXT
}

ranks=2 only=. list=0 protocol=full
while [ $# -gt 0 ]; do
  case $1 in
    --short) protocol=short ;;
    --ranks) [ $# -gt 1 ] && [[ $2 =~ ^[1-9][0-9]*$ ]] || die "--ranks needs a number"; ranks=$2; shift ;;
    --only) [ $# -gt 1 ] || die "--only needs a regular expression"; only=$2; shift ;;
    --list) list=1 ;;
    --help|-h) usage; exit 0 ;;
    *) die "unknown argument '$1' (see --help)" ;;
  esac
  shift
done

cd "$PONS_ROOT" # recipes name the evaluation text from here
results=$PONS_WORK/ablation/$protocol windows=20 length=2048 short=()
if [ $protocol = short ]; then
  windows=16 length=1024
  short=(calibration.windows=16 calibration.length=1024 evaluate.windows=16 evaluate.length=1024)
fi
a16="activations.bits=16 kv.bits=16"
paper=configs/smollm2/obr-gptq.yaml best=configs/smollm2/best-w4a16.yaml best4=configs/smollm2/best-w4a4kv4.yaml

# name | compared with | recipe | overrides
rows=(
  "w4a16 obr_gptq||$paper|$a16"
  "w4a16 + mask dual_swap|w4a16 obr_gptq|$paper|$a16 prune.mask=dual_swap"
  "w4a16 + mask admm|w4a16 obr_gptq|$paper|$a16 prune.mask=admm"
  "w4a16 + scale|w4a16 obr_gptq|$paper|$a16 weights.scale_from=compensated"
  "w4a16 + blocks|w4a16 obr_gptq|$paper|$a16 obr.blocks=8"
  "w4a16 + refit|w4a16 obr_gptq|$paper|$a16 weights.refit=closed_form"
  "w4a16 + polish|w4a16 obr_gptq|$paper|$a16 polish.sweeps=8"
  "w4a16 + targets|w4a16 obr_gptq|$paper|$a16 obr.target=compensated_inputs obr.residual=true"
  "w4a16 best|w4a16 obr_gptq|$best|"
  "w4a16 best - mask|w4a16 obr_gptq|$best|prune.mask=wanda"
  "w4a16 best - scale|w4a16 obr_gptq|$best|weights.scale_from=dense"
  "w4a16 best - blocks|w4a16 obr_gptq|$best|obr.blocks=2"
  "w4a16 best - polish|w4a16 obr_gptq|$best|polish.sweeps=0"
  "w4a16 best - targets|w4a16 obr_gptq|$best|obr.target=dense obr.residual=false"
  "w4a16 2:4 obr_gptq||$paper|$a16 prune.pattern=2:4 prune.sparsity=0.5"
  "w4a16 2:4 best|w4a16 2:4 obr_gptq|$best|prune.pattern=2:4 prune.sparsity=0.5"
  "w4a16 60 % obr_gptq||$paper|$a16 prune.sparsity=0.6"
  "w4a16 60 % best|w4a16 60 % obr_gptq|$best|prune.sparsity=0.6"
  "w4a16 seed 1 obr_gptq||$paper|$a16 seed=1"
  "w4a16 seed 1 best|w4a16 seed 1 obr_gptq|$best|seed=1"
  "w4a16 seed 2 obr_gptq||$paper|$a16 seed=2"
  "w4a16 seed 2 best|w4a16 seed 2 obr_gptq|$best|seed=2"
  "w4a4kv4 obr_gptq||$paper|"
  "w4a4kv4 best|w4a4kv4 obr_gptq|$best4|"
  "w4a4kv4 best - mask|w4a4kv4 obr_gptq|$best4|prune.mask=wanda"
  "w4a4kv4 best - targets|w4a4kv4 obr_gptq|$best4|obr.target=dense obr.residual=false"
  "w4a4kv4 best - learned rotation|w4a4kv4 obr_gptq|$best4|rotation.learn=false"
)

# Rows that are asked for, and those they need.
wanted=()
for row in "${rows[@]}"; do
  name=${row%%|*}
  for other in "${rows[@]}"; do
    IFS='|' read -r its base _ <<<"$other"
    if [[ $its =~ $only && ($its = "$name" || $base = "$name") ]]; then
      wanted+=("$row")
      break
    fi
  done
done
[ ${#wanted[@]} -gt 0 ] || die "no row matches '$only' (see --list)"
if [ $list = 1 ]; then
  printf '%s\n' "${wanted[@]}" | awk -F'|' '{ printf "%-34s %-34s %s\n", $1, $3, $4 }'
  exit 0
fi

[ -x "$PONS_BIN" ] || bash jobs/build.sh release
model=$(bash jobs/fetch-smollm2.sh "$PONS_WORK/smollm2")
mkdir -p "$results"
dense=$results/dense.json
[ -s "$dense" ] || mpirun -n "$ranks" "$PONS_BIN" eval ppl --model "$model" --text tests/data/wikitext2-test.txt \
  --windows $windows --length $length --json >"$dense.part"
[ -s "$dense" ] || mv "$dense.part" "$dense"

table=()
for row in "${wanted[@]}"; do
  IFS='|' read -r name base recipe sets <<<"$row"
  report="$results/${name//[^a-z0-9]/_}.json"
  table+=("$name" "$base" "$report")
  [ -s "$report" ] && continue
  say "$name: $recipe $sets"
  options=()
  for set in $sets ${short[@]+"${short[@]}"}; do options+=(--set "$set"); done
  mpirun -n "$ranks" "$PONS_BIN" compress "$recipe" --model "$model" --calib tests/data/wikitext2-valid.txt \
    --out "$results/model" --run "$results/model.run" --force --json ${options[@]+"${options[@]}"} >"$report.part"
  mv "$report.part" "$report"
  rm -rf "$results/model" "$results/model.run"
done
python3 jobs/ablation_table.py "$dense" "${table[@]}" | tee "$results/table.md"
