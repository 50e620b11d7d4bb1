#!/usr/bin/env bash
# pons inspect on the golden models, with zeros planted in some weights, against a count in Python.
. "$PONS_SOURCE/tests/support/program.sh"

for model in "$PONS_FIXTURES"/models/*/; do
  name=$(basename "$model")
  cp -r "$model" "$scratch/$name"
  PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$scratch/$name" >"$scratch/expected" <<'PYTHON'
import glob, json, sys
import safetensors
lines, weights, zeros, size = [], 0, 0, 0
for path in sorted(glob.glob(sys.argv[1] + "/model*.safetensors")):
    tensors = safetensors.load(path)
    for k, (name, (dtype, shape, data)) in enumerate(sorted(tensors.items())):
        size += len(data)
        if "_proj.weight" not in name:
            continue
        width = len(data) // (shape[0] * shape[1])
        data = bytearray(data)
        for i in range(0, shape[0] * shape[1], 3 + k % 5):
            data[i * width:(i + 1) * width] = bytes(width)
        tensors[name] = (dtype, shape, bytes(data))
        count = sum(v == 0 for v in safetensors.numbers(tensors[name]))
        weights, zeros = weights + shape[0] * shape[1], zeros + count
        lines.append(f"{name[:-7]} {shape[0]} {shape[1]} {count}")
    safetensors.save(path, tensors)
print("\n".join(sorted(lines)))
print(weights, zeros, size)
PYTHON
  rm -f "$scratch/$name/expected.safetensors"
  accepts inspect "$scratch/$name" --json
  python3 - "$scratch/out" >"$scratch/got" <<'PYTHON'
import json, sys
result = json.load(open(sys.argv[1]))
print("\n".join(sorted(f"{e['name']} {e['rows']} {e['cols']} {e['zeros']}" for e in result["linears"])))
totals = result["totals"]
print(totals["weights"], totals["zeros"], totals["bytes"])
assert all(e["relative_error"] is None for e in result["linears"])
assert abs(totals["sparsity"] - totals["zeros"] / totals["weights"]) < 1e-9
PYTHON
  diff "$scratch/expected" "$scratch/got" || fail "$name: counts differ"
  accepts inspect "$scratch/$name"
  [ "$(grep -c '^totals.zeros' "$scratch/out")" = 1 ] || fail "$name: the table has no totals"
done

# A directory that holds one .gguf file is that model; with two, the file has to be named.
if [ -n "${PONS_SMOLLM2:-}" ]; then
  mkdir "$scratch/gguf"
  ln -s "$PONS_SMOLLM2" "$scratch/gguf/model.gguf"
  "$PONS_BIN" inspect "$PONS_SMOLLM2" | grep -v '^path' >"$scratch/expected"
  "$PONS_BIN" inspect "$scratch/gguf" | grep -v '^path' | diff "$scratch/expected" - || fail "a directory with one .gguf file"
  [ "$("$PONS_BIN" tokenize --model "$scratch/gguf" 'Hello world')" = "$("$PONS_BIN" tokenize --model "$PONS_SMOLLM2" 'Hello world')" ] ||
    fail "the tokenizer of a directory with one .gguf file"
  "$PONS_BIN" plan "$PONS_SOURCE/configs/quickstart.yaml" --model "$scratch/gguf" >"$scratch/out" || fail "plan of a directory with one .gguf file"
  ln -s "$PONS_SMOLLM2" "$scratch/gguf/other.gguf"
  refuses 4 "$scratch/gguf: found 2 .gguf files" inspect "$scratch/gguf"
fi

refuses 6 "$scratch/nowhere" inspect "$scratch/nowhere"
mkdir "$scratch/empty"
refuses 6 "$scratch/empty" inspect "$scratch/empty"
finish
