#!/usr/bin/env bash
# The full protocol of configs/smollm2 on the real model beside the perplexities of the reference code.
# ctest: label=slow timeout=7200
. "$PONS_SOURCE/tests/support/program.sh"
[ -f "${PONS_SMOLLM2:-}" ] || { echo "skipped: PONS_SMOLLM2 does not name the model (jobs/fetch-smollm2.sh)"; exit 77; }
work=${PONS_GOLDEN_WORK:-$PONS_BUILD/golden.smollm2}
mkdir -p "$work"
cd "$PONS_SOURCE" || exit 1

for recipe in configs/smollm2/*.yaml; do
  name=$(basename "$recipe" .yaml)
  mpirun -n 2 "$PONS_BIN" compress "$recipe" --model "$PONS_SMOLLM2" --calib tests/data/wikitext2-valid.txt \
    --out "$work/$name" --force --json >"$work/$name.json" || fail "$name: pons compress fails"
done
python3 tests/golden/compare_smollm2.py tests/golden/smollm2_reference.csv "$work" || fail "perplexities"
finish
