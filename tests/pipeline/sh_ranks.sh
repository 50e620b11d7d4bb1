# ctest: timeout=900
# The packed output has the same bytes for 1, 2, 3 and 4 ranks and any number of threads, for every method;
# eval of the directory reproduces the perplexity measured while compressing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$PONS_FIXTURES/models/llama-gqa

# Ids of the tiny model's vocabulary: a fixed pseudo-random walk, enough for 5 windows of 64.
awk 'BEGIN { x = 7; for (i = 0; i < 3000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print int(x / 65536) % 320 } }' \
    >"$work/text.ids"

cat >"$work/recipe.yaml" <<YAML
compute: auto
calibration: {windows: 5, length: 64}
evaluate: {text: $work/text.ids, windows: 7, length: 32}
YAML

compress() { # ranks threads coordinator_works method [key=value]
    OMP_NUM_THREADS=$2 mpirun -n "$1" "$PONS_BIN" compress "$work/recipe.yaml" --model "$model" --calib "$work/text.ids" \
        --out "$work/out" --force --set "coordinator_works=$3" --set "method=$4" ${5:+--set "$5"} --json
}
field() { python3 -c 'import json,sys; v=json.load(sys.stdin)
for k in sys.argv[1].split("."): v=v[k]
print(v)' "$1"; }

for method in rtn gptq wanda_rtn sparsegpt_gptq obr_rtn obr_gptq "obr_gptq obr.act_order=true"; do
    expected=
    layouts=("1 1 true" "3 2 true")
    case $method in # every layout for the method that splits rows furthest and the one that cannot split them
    obr_gptq | sparsegpt_gptq) layouts+=("1 3 true" "2 1 true" "4 1 true" "3 1 false") ;;
    esac
    for layout in "${layouts[@]}"; do
        # shellcheck disable=SC2086 # three words and one or two
        compress $layout $method >"$work/report.json" 2>"$work/log" || { cat "$work/log"; exit 1; }
        digest=$(field digest <"$work/report.json")/$(field perplexity.weights_only <"$work/report.json")/$(field perplexity.full <"$work/report.json")
        expected=${expected:-$digest}
        if [ "$digest" != "$expected" ]; then
            echo "$method at ranks, threads, coordinator_works $layout: $digest, expected $expected"
            exit 1
        fi
    done
    echo "$method: $expected"
    full=$(field perplexity.full <"$work/report.json")
    again=$("$PONS_BIN" eval ppl --model "$work/out" --text "$work/text.ids" --windows 7 --length 32 --json | field perplexity)
    python3 -c 'import sys; a, b = map(float, sys.argv[1:]); assert abs(a / b - 1) < 1e-4, (a, b)' "$full" "$again"
    weights=$(field perplexity.weights_only <"$work/report.json")
    again=$("$PONS_BIN" eval ppl --model "$work/out" --text "$work/text.ids" --windows 7 --length 32 --weights-only --json | field perplexity)
    python3 -c 'import sys; a, b = map(float, sys.argv[1:]); assert abs(a / b - 1) < 1e-4, (a, b)' "$weights" "$again"
done
