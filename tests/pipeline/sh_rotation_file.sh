#!/usr/bin/env bash
# Files of trained rotations: a good one is used and recorded; a bad one is refused in one clear line at one and at three ranks,
# nothing that it names is executed, and nothing is left behind.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"

model=$PONS_FIXTURES/models/llama-gqa
good=$PONS_FIXTURES/frameworks/llama-gqa-spinquant/R.bin
out=$scratch/out-model
bad=$scratch/bad.bin

# rtn needs no calibration, so that a run is short
echo 'method: rtn
weights: {clip: none}' >"$scratch/recipe.yaml"
compress=(--quiet compress "$scratch/recipe.yaml" --model "$model" --out "$out")

# attempt CODE PATTERN ARGUMENT...: refused, and nothing is left.
attempt() {
  local code=$1 pattern=$2 left
  shift 2
  refuses "$code" "$pattern" "${compress[@]}" "$@"
  for left in "$out" "$out.part" "$out.run"; do
    [ -e "$left" ] && fail "$*: left ${left##*/} behind" && rm -rf "$left"
  done
  return 0
}
with_file() { attempt "$1" "$2" --set "rotation.file=$bad"; }

# edit PYTHON: bad.bin is the good file with r, its dictionary, changed by PYTHON.
edit() {
  PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$good" "$bad" "$1" <<'PYTHON' || fail "edit: $1"
import sys
from torch_file import Evil, Tensor, load, save
r = load(sys.argv[1])
exec(sys.argv[3])
save(sys.argv[2], r)
PYTHON
}

# ---- the good file, and the same matrices written by somebody else, give the same model
edit 'pass'
for file in "$good" "$bad"; do
  on 1 "${compress[@]}" --set "rotation.file=$file" --json || fail "$file is refused: $(cat "$scratch/err")"
  python3 - "$scratch/out" "$out/pons.json" "$file" <<'PYTHON' >>"$scratch/digests" || fail "pons.json does not describe $file"
import hashlib, json, sys
rotation = json.load(open(sys.argv[2]))["rotation"]
assert rotation["file"] == sys.argv[3], rotation
assert rotation["sha256"] == hashlib.sha256(open(sys.argv[3], "rb").read()).hexdigest(), rotation
assert 0 < rotation["deviation"] < 1e-5, rotation
print(json.load(open(sys.argv[1]))["digest"])
PYTHON
  rm -rf "$out" "$out.run"
done
on 3 "${compress[@]}" --set "rotation.file=$good" --json || fail "three ranks: $(cat "$scratch/err")"
python3 -c 'import json, sys; print(json.load(sys.stdin)["digest"])' <"$scratch/out" >>"$scratch/digests"
rm -rf "$out" "$out.run"
[ "$(sort "$scratch/digests" | uniq -c | awk '{print $1}')" = 3 ] || fail "digests differ: $(cat "$scratch/digests")"

# ---- files that are not what they should be
attempt 6 "$scratch/nowhere.bin" --set "rotation.file=$scratch/nowhere.bin"
head -c 30000 "$good" >"$bad"
with_file 4 'bad.bin: damaged or truncated zip archive'
: >"$bad"
with_file 4 'bad.bin: not a torch file'
python3 - "$good" "$bad" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[5000] ^= 1 # inside R1
open(sys.argv[2], "wb").write(data)
PYTHON
with_file 4 'bad.bin: record R/data/0: CRC error'
cp "$PONS_FIXTURES/torch/legacy.pt" "$bad"
with_file 5 'bad.bin: a torch file of the format before torch 1.6; convert it once: python3 -c'
PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$good" "$bad" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[2], "w") as new:
    for name in old.namelist():
        new.writestr(name, old.read(name)[: -4 if name == "R/data/1" else None])
PYTHON
with_file 4 'bad.bin: record R/data/1: found 1020 bytes, needed for 256 elements of F32: 1024'

# ---- a pickle that would run a command elsewhere
edit "r['R1'] = Evil('touch $scratch/executed')"
with_file 5 'bad.bin: data.pkl byte [0-9]+: found the global posix.system'
edit "r['more'] = Evil('touch $scratch/executed')"
with_file 5 'found the global posix.system'
[ -e "$scratch/executed" ] && fail "a command in a pickle was executed"

# ---- matrices that are not those of this model
edit 'del r["model.layers.1.self_attn.R2"]'
with_file 4 'bad.bin: model.layers.1.self_attn.R2 is missing'
edit 'del r["R1"]'
with_file 4 'bad.bin: R1 is missing'
edit 'r["model.layers.2.self_attn.R2"] = Tensor((8, 8), [float(i % 9 == 0) for i in range(64)])'
with_file 10 'model.layers.2.self_attn.R2: .*\[8, 8\], needed: \[16, 16\], the model.s head_dim'
edit 'r["R1"] = Tensor((9216,), r["R1"].values)'
with_file 10 'R1: found 1 dimensions'
edit 'r["R1"] = 7'
with_file 4 'R1: found a whole number, allowed: a tensor'
edit 'r["model.layers.3.self_attn.R2"] = r["model.layers.2.self_attn.R2"]'
with_file 5 'found the entry model.layers.3.self_attn.R2, allowed for a model of 3 layers'
edit 'r = 5'
with_file 4 'found a whole number, allowed: a dictionary'

# ---- matrices that are no rotations; the tolerance is a key
edit 'r["R1"].values[5] += 0.01'
with_file 4 'R1 is not orthogonal: R\^T R differs from the identity by 0\.0[0-9]+, allowed by rotation.tolerance: 0.001'
on 1 "${compress[@]}" --set "rotation.file=$bad" --set rotation.tolerance=0.1 || fail "tolerance: $(cat "$scratch/err")"
rm -rf "$out" "$out.run"
edit 'r["model.layers.0.self_attn.R2"].values[0] = float("nan")'
with_file 4 'model.layers.0.self_attn.R2 is not orthogonal'

finish
