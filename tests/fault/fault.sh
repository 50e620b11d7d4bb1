# Sourced by the tests of this folder: one small job, its uninterrupted result, and what must hold after any accident.
# $PONS_FAULT names the accident (src/base/fault.h).
. "$PONS_SOURCE/tests/support/program.sh"
export OMPI_MCA_btl=self,tcp # killed ranks would leave segments of shared memory behind

model=$PONS_FIXTURES/models/llama-gqa
python3 -c "print(*((7 * i * i + i) % 320 for i in range(900)))" >"$scratch/text.ids"
mkdir "$scratch/disk"
cat >"$scratch/recipe.yaml" <<YAML
method: obr_gptq
hessians: keep
obr: {solver: dual} # more to go wrong than in the direct one, which auto takes for so narrow a model
calibration: {windows: 5, length: 32}
checkpoint: {blocks: 1, grace: 10}
layout: {scratch: $scratch/disk}
evaluate: {text: $scratch/text.ids, windows: 5, length: 32}
YAML

# compress RANKS OUT ARGUMENT...: its exit code; report in $scratch/out, messages in $scratch/err.
compress() {
  local ranks=$1 out=$2
  shift 2
  timeout -s KILL 60 mpirun -n "$ranks" "$PONS_BIN" --quiet compress "$scratch/recipe.yaml" --model "$model" \
    --calib "$scratch/text.ids" --out "$out" --json "$@" >"$scratch/out" 2>"$scratch/err"
}
report() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(r["digest"], r["perplexity"], r["relative_error"])' "$scratch/out"; }

# resumes LABEL RANKS OUT: goes on to the result of the uninterrupted run, in every file (but for keys of the recipe that
# change no bit).
resumes() {
  local label=$1 ranks=$2 out=$3
  [ -z "$(ls -A "$scratch/disk")" ] || fail "$label: left in layout.scratch: $(ls "$scratch/disk")"
  compress "$ranks" "$out" --resume || fail "$label: resumed with $ranks ranks: exit code $?: $(cat "$scratch/err")"
  diff -r -I '^  "recipe":' "$scratch/whole" "$out" >"$scratch/diff" || fail "$label: $(head -n 5 "$scratch/diff")"
  [ "$(report)" = "$expected" ] || fail "$label: reports $(report), expected $expected"
  rm -rf "$out" "$out.part" "$out.run"
}

compress 2 "$scratch/whole" || { cat "$scratch/err"; exit 1; }
expected=$(report)
