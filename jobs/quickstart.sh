#!/usr/bin/env bash
# From a bare Debian 12 to a compressed language model and a table of its perplexity.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

usage() {
  cat <<TEXT
Usage: quickstart.sh [--table] [--ranks N] [--help]

Install what is missing, build, fetch SmolLM2-135M-Instruct, compress it to 4-bit weights, activations and KV cache with
half of the weights zero, and print the perplexity of each method side by side.

  --table    all methods under the full protocol (32 windows x 2048; long) instead of two under the short one
             (16 windows x 1024)
  --ranks N  MPI ranks (default 2)

Models, reports and logs are written under PONS_WORK (now $PONS_WORK).
TEXT
}

ranks=2 protocol=quickstart
while [ $# -gt 0 ]; do
  case $1 in
    --table) protocol=smollm2 ;;
    --ranks) [ $# -gt 1 ] && [[ $2 =~ ^[1-9][0-9]*$ ]] || die "--ranks needs a number"; ranks=$2; shift ;;
    --help|-h) usage; exit 0 ;;
    *) die "unknown argument '$1' (see --help)" ;;
  esac
  shift
done

cd "$PONS_ROOT" # recipes name the evaluation text from here
bash jobs/install-deps.sh
bash jobs/build.sh release
model=$(bash jobs/fetch-smollm2.sh "$PONS_WORK/smollm2")
results=$PONS_WORK/$protocol
mkdir -p "$results"

say "dense model"
case $protocol in
  quickstart) windows=16 length=1024 recipes=(configs/quickstart-wanda-rtn.yaml configs/quickstart.yaml) ;;
  smollm2)
    windows=20 length=2048
    recipes=(configs/smollm2/{rtn,gptq,wanda-rtn,sparsegpt-gptq,obr-rtn,obr-gptq}.yaml) ;;
esac
mpirun -n "$ranks" "$PONS_BIN" eval ppl --model "$model" --text tests/data/wikitext2-test.txt \
  --windows $windows --length $length --json >"$results/dense.json"
"$PONS_BIN" inspect "$model" --json >"$results/dense-inspect.json"

reports=()
for recipe in "${recipes[@]}"; do
  name=$(basename "$recipe" .yaml)
  say "mpirun -n $ranks pons compress $recipe"
  mpirun -n "$ranks" "$PONS_BIN" compress "$recipe" --model "$model" --calib tests/data/wikitext2-valid.txt \
    --out "$results/$name" --run "$results/$name.run" --force --json >"$results/$name.json"
  reports+=("$results/$name.json")
done
python3 jobs/table.py "$results/dense.json" "$results/dense-inspect.json" "${reports[@]}" | tee "$results/table.txt"
say "compressed models are in $results"
