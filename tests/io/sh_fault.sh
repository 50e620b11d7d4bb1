#!/usr/bin/env bash
# A fault in HDF5 on one rank ends the job on all of them within seconds: the other ranks can neither go on nor close the file.
# ctest: timeout=120
. "$PONS_SOURCE/tests/support/program.sh"

command -v cc >/dev/null || { echo "skipped: no compiler"; exit 77; }
ldd "$PONS_BIN" | grep -q libasan && { echo "skipped: the sanitizer wants to be loaded first"; exit 77; }
cat >"$scratch/fault.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>

/* The file is made, and rank 1 is told that it is not; with FAULT=all every rank is, before it is made. */
hid_t H5Fcreate(const char *name, unsigned flags, hid_t create, hid_t access)
{
    hid_t (*real)(const char *, unsigned, hid_t, hid_t);
    *(void **)&real = dlsym(RTLD_NEXT, "H5Fcreate");
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (!strcmp(getenv("FAULT"), "all")) return -1;
    hid_t file = real(name, flags, create, access);
    return rank && !strcmp(rank, "1") ? -1 : file;
}
C
OMPI_CC=cc mpicc -shared -fPIC -I"${HDF5_INCLUDE:-/usr/include/hdf5/openmpi}" -o "$scratch/fault.so" "$scratch/fault.c" -ldl 2>"$scratch/err" ||
  { echo "skipped: $(head -n 1 "$scratch/err")"; exit 77; }
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/text.ids"
printf 'method: obr_gptq\nhessians: keep\ncalibration: {windows: 4, length: 32}\n' >"$scratch/recipe.yaml"
faulty() { # FAULT: compress on three ranks
  timeout 30 mpirun -n 3 -x LD_PRELOAD="$scratch/fault.so" -x FAULT="$1" "$PONS_BIN" --quiet compress "$scratch/recipe.yaml" \
    --model "$PONS_FIXTURES/models/llama-gqa" --calib "$scratch/text.ids" --out "$scratch/model" >"$scratch/out" 2>"$scratch/err"
}

faulty one
code=$?
[ $code = 6 ] || fail "a fault on rank 1: exit code $code: $(cat "$scratch/err")"
grep -q 'block-000.h5.part.*other ranks have the file open' "$scratch/err" || fail "a fault on rank 1: $(cat "$scratch/err")"
[ -e "$scratch/model" ] && fail "a fault on rank 1: OUT is there"
rm -rf "$scratch/model.run" "$scratch/model.part" # the job was ended, so what it had staged is still there

faulty all
code=$?
[ $code = 6 ] || fail "a fault on all ranks: exit code $code: $(cat "$scratch/err")"
[ "$(grep -c '^pons: .*block-000.h5.part' "$scratch/err")" = 1 ] || fail "a fault on all ranks: $(cat "$scratch/err")"
ls -d "$scratch/model"* >"$scratch/left" 2>/dev/null && fail "a fault on all ranks leaves $(cat "$scratch/left")"
finish
