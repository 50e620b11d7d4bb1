#!/usr/bin/env bash
# cmake --install into a prefix: the program runs from there, the shared library exports include/pons only, and a project
# outside the tree builds against it with CMake and with pkg-config, shared and static.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
prefix=$scratch/prefix
cmake --install "$PONS_BUILD" --prefix "$prefix" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "cmake --install"; finish; }
for file in bin/pons include/pons/pons.h share/man/man1/pons.1 share/pons/configs/quickstart.yaml; do
  [ -f "$prefix/$file" ] || fail "$file is not installed"
done
library=$(find "$prefix" -name libpons.so)
[ -n "$library" ] || { fail "libpons.so is not installed"; finish; }
libraries=$(dirname "$library")

# Exported: each function that a header declares with PONS_API, nothing else.
nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sort >"$scratch/exported"
grep -hoE '\bpons_[a-z_]+\(' "$prefix"/include/pons/*.h | tr -d '(' | sort -u >"$scratch/declared"
comm -23 "$scratch/exported" "$scratch/declared" | grep -q . &&
  fail "exported but not declared: $(comm -23 "$scratch/exported" "$scratch/declared" | tr '\n' ' ')"
[ "$(wc -l <"$scratch/exported")" -ge 15 ] || fail "exported: $(cat "$scratch/exported")"
readelf -d "$library" | grep -q 'SONAME.*libpons\.so\.[0-9]' || fail "libpons.so has no versioned SONAME"

# The program, from the prefix.
"$prefix/bin/pons" --version | grep -qE '^pons [0-9]' || fail "pons --version from the prefix"
export OMP_NUM_THREADS=1
"$prefix/bin/pons" compress "$prefix/share/pons/configs/quickstart.yaml" --model "$PONS_FIXTURES/models/llama-gqa" \
  --set method=rtn --set rotation.kind=none --set evaluate.text= --out "$scratch/out" --quiet >/dev/null 2>"$scratch/err" ||
  fail "pons compress from the prefix: $(cat "$scratch/err")"

# The codes and weights of one linear, unpacked here.
linear=model.layers.1.mlp.up_proj
PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$scratch/out" $linear >"$scratch/expected" <<'PYTHON'
import array, glob, struct, sys
import safetensors
folder, name = sys.argv[1:]
for path in glob.glob(folder + "/model*.safetensors"):
    tensors = safetensors.load(path)
    if name + ".weight_packed" in tensors:
        break
_, (rows, words), packed = tensors[name + ".weight_packed"]
scales = safetensors.numbers(tensors[name + ".weight_scale"])
cols = struct.unpack("<2q", tensors[name + ".weight_shape"][2])[1] if name + ".weight_shape" in tensors else words * 8
codes, values = array.array("b"), array.array("f")
for r in range(rows):
    row = struct.unpack_from(f"<{words}I", packed, 4 * words * r)
    line = [(row[c // 8] >> (c % 8 * 4) & 15) - 8 for c in range(cols)]
    codes.extend(line)
    values.extend(scales[r] * c for c in line)
sys.stdout.buffer.write(codes.tobytes() + values.tobytes())
PYTHON
[ -s "$scratch/expected" ] || fail "nothing was unpacked"

# uses PROGRAM: works and reads the same.
uses() {
  "$1" "$scratch/out" $linear "$scratch/read" >"$scratch/log" 2>&1 || fail "$1: $(cat "$scratch/log")"
  cmp "$scratch/expected" "$scratch/read" || fail "$1 reads other codes or weights"
}

cp -r "$PONS_SOURCE/tests/consumer" "$scratch/consumer"
sanitize=$(grep -qs '^PONS_SANITIZE:BOOL=ON' "$PONS_BUILD/CMakeCache.txt" && echo yes)
if cmake -S "$scratch/consumer" -B "$scratch/consumer/build" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/log" 2>&1 &&
  cmake --build "$scratch/consumer/build" >>"$scratch/log" 2>&1; then
  uses "$scratch/consumer/build/consumer"
  uses "$scratch/consumer/build/consumer-static"
  readelf -d "$scratch/consumer/build/consumer" | grep -q 'NEEDED.*libpons' || fail "pons::pons is not the shared library"
  readelf -d "$scratch/consumer/build/consumer-static" | grep -q 'NEEDED.*libpons' && fail "pons::static is the shared library"
else
  fail "with CMake: $(tail -n 20 "$scratch/log")"
fi
if [ -z "$sanitize" ] && command -v make >/dev/null; then # pons.pc has no flags of sanitizers
  for target in consumer consumer-static; do
    if PKG_CONFIG_PATH=$libraries/pkgconfig make -C "$scratch/consumer" $target >"$scratch/log" 2>&1; then
      uses "$scratch/consumer/$target"
    else
      fail "make $target: $(cat "$scratch/log")"
    fi
  done
fi
finish
