#!/usr/bin/env bash
# --hessians: another recipe from the Hessians of an earlier run gives every byte that it gives by itself, whatever the ranks;
# other models, calibrations and rotations are refused by name, so are Hessians and recipes that are not dense. inspect checks a file.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(900)))" >"$scratch/text.ids"
cat >"$scratch/recipe.yaml" <<YAML
wave: 3
calibration: {windows: 5, length: 32}
evaluate: {text: $scratch/text.ids, windows: 7, length: 32}
YAML
compress() { # RANKS OUT ARGUMENT...
  local ranks=$1 out=$2
  shift 2
  on "$ranks" --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/text.ids" --out "$out" --json "$@"
}
compress 3 "$scratch/first" --set hessians=keep || fail "capture: $(cat "$scratch/err")"

number=0
for other in "method=obr_gptq prune.sparsity=0.25" "method=wanda seed=0" "method=gptq weights.bits=3" \
  "method=obr_rtn prune.pattern=2:4"; do
  # shellcheck disable=SC2086
  set -- $other
  number=$((number + 1))
  compress 2 "$scratch/own$number" --set "$1" --set "$2" || fail "$other by itself: $(cat "$scratch/err")"
  compress $number "$scratch/reused$number" --set "$1" --set "$2" --hessians "$scratch/first.run" ||
    fail "$other reusing: $(cat "$scratch/err")"
  diff -r "$scratch/own$number" "$scratch/reused$number" >"$scratch/diff" || fail "$other: $(cat "$scratch/diff")"
done
grep -q '"forward": 0.0' "$scratch/out" || fail "a run that reuses Hessians has a forward pass: $(grep forward "$scratch/out")"

refused() { # CODE PATTERN ARGUMENT...
  refuses "$1" "$2" --quiet compress "$scratch/recipe.yaml" --out "$scratch/out1" --hessians "$scratch/first.run" "${@:3}"
  [ ! -e "$scratch/out1.run" ] || fail "$2: a state directory is left"
}
mine=(--model "$model" --calib "$scratch/text.ids")
refused 4 'block-000.h5: windows is not.*5 of 32 tokens there.*4 of 32' "${mine[@]}" --set calibration.windows=4
refused 4 'block-000.h5: rotation is not' "${mine[@]}" --set rotation.seed=7
# The other type of products: where the processor has no bf16 the recipe is refused for that, with exit code 5.
on 1 inspect --json "$scratch/first.run/hessians/block-000.h5" || fail "inspect: $(cat "$scratch/err")"
other=fp32
grep -q '"products": "fp32' "$scratch/out" && other=bf16
refused '4|5' 'block-000.h5: products is not|compute: bf16 needs' "${mine[@]}" --set compute=$other
refused 4 'block-000.h5: output.dtype is not' "${mine[@]}" --set output.dtype=f32
python3 -c "print(*((5 * i * i + i) % 320 for i in range(900)))" >"$scratch/other.ids"
refused 4 'block-000.h5: calibration is not' --model "$model" --calib "$scratch/other.ids"
refused 4 'block-000.h5: model is not' --model "$PONS_FIXTURES/models/llama31-rope" --calib "$scratch/text.ids" --set evaluate.text= \
  --set wave=9
refused 3 'recipe key wave: allowed: 3 or more' "${mine[@]}" --set wave=2
refused 3 'recipe key method: allowed' "${mine[@]}" --set method=rtn --set wave=1
refused 3 'recipe key hessians: allowed: discard' "${mine[@]}" --set hessians=keep
compress 2 "$scratch/sequential" --set wave=2 --set hessians=keep || fail "a wave of two: $(cat "$scratch/err")"
refuses 4 'found Hessians of a wave of 2 blocks' --quiet compress "$scratch/recipe.yaml" "${mine[@]}" --out "$scratch/out1" \
  --hessians "$scratch/sequential.run"
refuses '4|6' 'nowhere/hessians/block-000.h5' --quiet compress "$scratch/recipe.yaml" "${mine[@]}" --out "$scratch/out1" \
  --hessians "$scratch/nowhere"

# ---- inspect reads and checks
file=$scratch/first.run/hessians/block-001.h5
on 2 inspect --json "$file" || fail "inspect: $(cat "$scratch/err")"
python3 - "$scratch/out" <<'PY' || fail "inspect: $(cat "$scratch/out")"
import json, sys
r = json.load(open(sys.argv[1]))
assert r["windows"] == 5 and r["tokens"] == 160 and r["wave"] == 3 and r["damping"] == 0.01, r
assert {g["name"] for g in r["groups"]} == {"qkv", "o", "gate_up", "down"}
assert all(g["mean_diagonal"] > 0 and g["largest_norm"] > 0 and g["dead_columns"] == 0 for g in r["groups"])
assert set(r["fingerprint"]) == {"model", "calibration", "windows", "rotation", "products", "output.dtype"}
PY
on 1 inspect "$file" || fail "inspect: $(cat "$scratch/err")"
grep -qE '^gate_up +[0-9]+ ' "$scratch/out" || fail "inspect: $(cat "$scratch/out")"
cp "$file" "$scratch/damaged.h5"
python3 -c 'import os, sys; f = open(sys.argv[1], "r+b"); n = os.path.getsize(sys.argv[1]) // 2; f.seek(n); b = f.read(1); f.seek(n); f.write(bytes([b[0] ^ 1]))' \
  "$scratch/damaged.h5"
refuses 4 'damaged.h5' inspect "$scratch/damaged.h5"
# Evaluation streams are saved as often as checkpoint.blocks says, however many blocks a wave would have: of three blocks after the second.
compress 1 "$scratch/saved" --hessians "$scratch/first.run" --set checkpoint.blocks=2 || fail "checkpoints: $(cat "$scratch/err")"
[ "$(grep -c '"event":"hidden"' "$scratch/saved.run/journal.jsonl")" = 1 ] || fail "hidden states: $(grep hidden "$scratch/saved.run/journal.jsonl")"
# The run was begun by this program: with the commit and the compiler of another one it does not go on.
grep -qE '"program":"[0-9.]+, commit [0-9a-z-]+, (gcc|clang) [^"]+, [a-z0-9_]+"' "$scratch/saved.run/journal.jsonl" || fail "the fingerprint lacks the program"
finish
