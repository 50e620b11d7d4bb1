#!/usr/bin/env bash
# clang compiles the program and libpons without a warning. Nothing is run: the tests belong to the compiler of the build.
# ctest: timeout=1200
command -v clang >/dev/null || { echo "skipped: clang is not installed"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if ! { cmake -S "$PONS_SOURCE" -B "$scratch" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 \
  -DPONS_TESTS=OFF -DPONS_WERROR=ON && cmake --build "$scratch" -j 2 -- -k 0; } >"$scratch/log" 2>&1; then
  grep -E 'error|warning' -A 4 "$scratch/log" | head -n 60
  tail -n 20 "$scratch/log"
  exit 1
fi
