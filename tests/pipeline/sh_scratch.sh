#!/usr/bin/env bash
# Matrices on a node's disk (layout.scratch): the bytes are those of memory at any number of ranks, a run may be resumed with another
# directory or none, nothing is left in it also after a kill, a full or missing disk is one sentence.
# ctest: timeout=900
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/calib.ids"
printf 'method: obr_gptq\ncalibration: {windows: 4, length: 32}\n' >"$scratch/recipe.yaml"
disk=$scratch/disk
mkdir "$disk"
compress() { # RANKS ARGUMENT...
  local ranks=$1
  shift
  on "$ranks" --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/model" --json "$@"
}
digest() { python3 -c 'import json, sys; r = json.load(sys.stdin); print(r["digest"], r["relative_error"])' <"$scratch/out"; }
empty() { [ -z "$(ls -A "$disk")" ] || fail "$1: left behind: $(ls "$disk")"; }

for keys in "" "obr.solver=dual obr.precision=fp32" "obr.solver=dual obr.act_order=true" "prune.mask=admm obr.blocks=4 polish.sweeps=2" \
  "method=sparsegpt_gptq" "wave=3"; do
  set=()
  for key in $keys; do set+=(--set "$key"); done
  expected=
  for layout in "1 $disk" "1" "2 $disk" "3 $disk" "4 $disk" "4"; do
    read -r ranks where <<<"$layout"
    compress "$ranks" --force "${set[@]}" --set "layout.scratch=$where" || fail "$keys, ranks, scratch $layout: $(cat "$scratch/err")"
    expected=${expected:-$(digest)}
    [ "$(digest)" = "$expected" ] || fail "$keys, ranks, scratch $layout: $(digest), expected $expected"
    empty "$keys, $layout"
  done
  echo "$keys: $expected"
done

# ---- killed in the second block, resumed without the directory to the same bytes
compress 2 --force || fail "a run in memory: $(cat "$scratch/err")"
expected=$(digest)
for rank in 0 2; do
  PONS_FAULT=block.die:$rank:6 compress 3 --force --set "layout.scratch=$disk"
  [ $? = 137 ] || fail "block.die on rank $rank: $(cat "$scratch/err")"
  empty "killed on rank $rank"
  compress 2 --resume || fail "resumed without scratch: $(cat "$scratch/err")"
  [ "$(digest)" = "$expected" ] || fail "resumed without scratch: $(digest), expected $expected"
done

# ---- what is refused before any work
rm -rf "$scratch/model"*
echo mine >"$scratch/file"
for where in "$scratch/nowhere" "$scratch/file"; do
  refuses 3 "recipe.yaml: layout.scratch: found $where, allowed: a directory .*(No such file|Not a directory)" --quiet compress \
    "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/model" --set "layout.scratch=$where"
  [ -e "$scratch/model.run" ] && fail "$where: a run was begun"
done

# ---- a full disk
if mount -t tmpfs -o size=64k pons "$disk" 2>/dev/null; then
  refuses 6 "layout.scratch: $disk: cannot reserve [0-9]+ bytes: No space left on device" --quiet compress \
    "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/model" --set "layout.scratch=$disk"
  empty "full disk"
  umount "$disk"
else
  echo "full disk: not tested (mounting a tmpfs is not permitted)"
fi
finish
