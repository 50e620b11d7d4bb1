#!/usr/bin/env bash
# The full protocol of configs/smollm2 on the real model beside the perplexities of the reference code.
#
# The perplexity of a compressed SmolLM2 is chaotic in the last bits: a relative change of 1e-6 of the damping moves single
# runs by up to 7 %. So the pruned methods run several times (PONS_GOLDEN_RUNS: all as often), equal but for such changes; their
# geometric mean is compared with that of the reference's run and of the runs of an independent implementation
# (smollm2_protocol.py).
# ctest: label=slow timeout=14400
. "$PONS_SOURCE/tests/support/program.sh"
[ -f "${PONS_SMOLLM2:-}" ] || { echo "skipped: PONS_SMOLLM2 does not name the model (jobs/fetch-smollm2.sh)"; exit 77; }
work=${PONS_GOLDEN_WORK:-$PONS_BUILD/golden.smollm2}
rm -rf "$work"
mkdir -p "$work"
cd "$PONS_SOURCE" || exit 1

for recipe in configs/smollm2/{dense,rtn,gptq,wanda-rtn,sparsegpt-gptq,obr-rtn,obr-gptq,obr-gptq-online-free}.yaml; do
  name=$(basename "$recipe" .yaml)
  case $name in
    sparsegpt-gptq|obr-rtn) runs=${PONS_GOLDEN_RUNS:-5} ;; # 4 to 5 % apart
    obr-gptq) runs=${PONS_GOLDEN_RUNS:-3} ;;               # 2 %
    *) runs=1 ;;
  esac
  for ((run = 0; run < runs; run++)); do
    nudge=()
    [ "$run" -gt 0 ] && nudge=(--set "obr.damping=0.0100000$run")
    mpirun -n 2 "$PONS_BIN" --quiet compress "$recipe" --model "$PONS_SMOLLM2" --calib tests/data/wikitext2-valid.txt \
      --out "$work/out" --force --json "${nudge[@]}" >"$work/$name.$run.json" || fail "$name: pons compress fails"
  done
done
rm -rf "$work/out" "$work/out.run"
python3 tests/golden/compare_smollm2.py tests/golden/smollm2_reference.csv tests/golden/smollm2_protocol_runs.csv "$work" || fail "perplexities"
finish
