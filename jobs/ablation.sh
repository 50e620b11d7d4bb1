#!/usr/bin/env bash
# The effect of each improvement over obr_gptq on a whole model, alone and left out of the best recipe.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: ablation.sh [--short] [--ranks N] [--only REGEX] [--list] [--help]

Compress SmolLM2-135M-Instruct once for each row of the table, the most informative first, and print the table: perplexity, how much
of obr_gptq's log perplexity over the dense model's remains, processor time relative to obr_gptq's. An existing run is not
repeated, and rows share runs; the script can be stopped and continued: table.md has the rows so far.

  --short       16 windows x 1024 instead of the full protocol (32 x 2048, evaluation on 20 x 2048)
  --ranks N     MPI ranks (default 2)
  --only REGEX  rows whose name matches, and those they are compared with
  --list        print the rows, what they change, and which exist

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
half="prune.pattern=2:4 prune.sparsity=0.5" # which leaves an allocation nothing to choose
fine="obr.blocks=2 polish.sweeps=0 weights.scale_from=dense" # masks, targets, allocation and rotations are left

# name | compared with | recipe | overrides. Targets dense, weights are the same whatever activations are: the runs of
# obr_gptq that are compared with both kinds give both perplexities.
rows=(
  "w4a16 obr_gptq||$paper|"
  "w4a16 best|w4a16 obr_gptq|$best|"
  "w4a4kv4 obr_gptq||$paper|"
  "w4a4kv4 best|w4a4kv4 obr_gptq|$best4|"
  "w4a16 2:4 obr_gptq||$paper|$a16 $half"
  "w4a16 2:4 best|w4a16 2:4 obr_gptq|$best|$half prune.allocate=uniform"
  "w4a16 60 % obr_gptq||$paper|$a16 prune.sparsity=0.6"
  "w4a16 60 % best|w4a16 60 % obr_gptq|$best|prune.sparsity=0.6"
  "w4a16 seed 1 obr_gptq||$paper|seed=1"
  "w4a16 seed 1 best|w4a16 seed 1 obr_gptq|$best|seed=1"
  "w4a4kv4 seed 1 obr_gptq||$paper|seed=1"
  "w4a4kv4 seed 1 best|w4a4kv4 seed 1 obr_gptq|$best4|seed=1"
  "w4a16 seed 2 obr_gptq||$paper|seed=2"
  "w4a16 seed 2 best|w4a16 seed 2 obr_gptq|$best|seed=2"
  "w4a4kv4 seed 2 obr_gptq||$paper|seed=2"
  "w4a4kv4 seed 2 best|w4a4kv4 seed 2 obr_gptq|$best4|seed=2"
  "w4a16 best - allocation|w4a16 obr_gptq|$best|prune.allocate=uniform"
  "w4a16 best - targets|w4a16 obr_gptq|$best|obr.target=dense obr.residual=false"
  "w4a16 best - mask|w4a16 obr_gptq|$best|prune.mask=wanda"
  "w4a16 best - blocks|w4a16 obr_gptq|$best|obr.blocks=2"
  "w4a16 best - scale|w4a16 obr_gptq|$best|weights.scale_from=dense"
  "w4a16 best - polish|w4a16 obr_gptq|$best|polish.sweeps=0"
  "w4a16 best - blocks, scale, polish|w4a16 obr_gptq|$best|$fine"
  "w4a16 best - blocks, scale, polish, allocation|w4a16 obr_gptq|$best|prune.allocate=uniform $fine"
  "w4a16 60 % best - blocks, scale, polish|w4a16 60 % obr_gptq|$best|prune.sparsity=0.6 $fine"
  "w4a16 60 % best - blocks, scale, polish, allocation|w4a16 60 % obr_gptq|$best|prune.sparsity=0.6 prune.allocate=uniform $fine"
  "w4a4kv4 best - blocks, scale, polish|w4a4kv4 obr_gptq|$best4|$fine"
  "w4a4kv4 best - blocks, scale, polish, allocation|w4a4kv4 obr_gptq|$best4|prune.allocate=uniform $fine"
  "w4a4kv4 best - allocation|w4a4kv4 obr_gptq|$best4|prune.allocate=uniform"
  "w4a4kv4 best - targets|w4a4kv4 obr_gptq|$best4|obr.target=dense obr.residual=false"
  "w4a4kv4 best - mask|w4a4kv4 obr_gptq|$best4|prune.mask=wanda"
  "w4a4kv4 best - learned rotation|w4a4kv4 obr_gptq|$best4|rotation.learn=false"
  "w4a4kv4 best - clip|w4a4kv4 obr_gptq|$best4|activations.clip_ratio=1"
  "w4a4kv4 + clip|w4a4kv4 obr_gptq|$paper|activations.clip_ratio=0.9"
  "w4a16 + allocation|w4a16 obr_gptq|$paper|$a16 prune.allocate=budget"
  "w4a16 + mask admm|w4a16 obr_gptq|$paper|$a16 prune.mask=admm"
  "w4a16 + targets|w4a16 obr_gptq|$paper|$a16 obr.target=compensated_inputs obr.residual=true"
  "w4a16 + blocks|w4a16 obr_gptq|$paper|$a16 obr.blocks=8"
  "w4a16 + polish|w4a16 obr_gptq|$paper|$a16 polish.sweeps=8"
  "w4a16 + scale|w4a16 obr_gptq|$paper|$a16 weights.scale_from=compensated"
  "w4a16 + refit|w4a16 obr_gptq|$paper|$a16 weights.refit=closed_form"
  "w4a16 + mask dual_swap|w4a16 obr_gptq|$paper|$a16 prune.mask=dual_swap"
  "w4a16 + allocation of bits|w4a16 obr_gptq|$paper|$a16 prune.allocate=budget weights.allocate_bits=3,4,8"
  "w4a16 best + bits|w4a16 obr_gptq|$best|weights.allocate_bits=3,4,8"
)

report_of() { # recipe overrides: its name is what was run
  local run="${1##*/} $2"
  printf '%s/%s.json' "$results" "${run//[^A-Za-z0-9]/_}"
}

# The requested rows and those they are compared with.
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
  for row in "${wanted[@]}"; do
    IFS='|' read -r name base recipe sets <<<"$row"
    there=' '
    [ ! -s "$(report_of "$recipe" "$sets")" ] || there='*'
    printf '%s %-50s %-34s %s\n' "$there" "$name" "$recipe" "$sets"
  done
  exit 0
fi

[ -x "$PONS_BIN" ] || bash jobs/build.sh release
model=${PONS_SMOLLM2:-$(bash jobs/fetch-smollm2.sh "$PONS_WORK/smollm2")}
mkdir -p "$results"
dense=$results/dense.json
[ -s "$dense" ] || mpirun -n "$ranks" "$PONS_BIN" eval ppl --model "$model" --text tests/data/wikitext2-test.txt \
  --windows $windows --length $length --json >"$dense.part"
[ -s "$dense" ] || mv "$dense.part" "$dense"

table=() TIMEFORMAT=%U
for row in "${wanted[@]}"; do
  IFS='|' read -r name base recipe sets <<<"$row"
  report=$(report_of "$recipe" "$sets")
  if [ ! -s "$report" ]; then
    say "$name: $recipe $sets"
    options=()
    for set in $sets ${short[@]+"${short[@]}"}; do options+=(--set "$set"); done
    { time mpirun -n "$ranks" "$PONS_BIN" compress "$recipe" --model "$model" --calib tests/data/wikitext2-valid.txt \
      --out "$results/model" --run "$results/model.run" --force --json ${options[@]+"${options[@]}"} \
      >"$report.part" 2>&3; } 3>&2 2>"${report%.json}.user"
    mv "$report.part" "$report"
    rm -rf "$results/model" "$results/model.run"
  fi
  table+=("$name" "$base" "$report")
  python3 jobs/ablation_table.py "$dense" "${table[@]}" >"$results/table.md"
done
cat "$results/table.md"
