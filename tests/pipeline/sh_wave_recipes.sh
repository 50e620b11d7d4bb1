#!/usr/bin/env bash
# Recipes under waves: targets, budget, raised dampings and FlatQuant give the same bytes for any ranks, teams and threads, also
# when a run is killed inside or between waves and goes on; what the first inputs of block 0 see is what they see without waves.
# ctest: timeout=1800
. "$PONS_SOURCE/tests/support/program.sh"
model=$PONS_FIXTURES/models/llama-gqa # three blocks: waves of two and one
python3 -c "print(*((7 * i * i + i) % 320 for i in range(1200)))" >"$scratch/calib.ids"
cat >"$scratch/recipe.yaml" <<YAML
calibration: {windows: 5, length: 32}
checkpoint: {blocks: 1}
evaluate: {text: $scratch/calib.ids, windows: 3, length: 32}
YAML
compress() { # RANKS OUT ARGUMENT...
  local ranks=$1 out=$2
  shift 2
  on "$ranks" compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$out" --json "${set[@]}" "$@"
}
same() { # LABEL OTHER: but for recipe and layout, which pons.json tells
  diff -r -x pons.json "$scratch/whole" "$2" >"$scratch/diff" || fail "$1: $(cat "$scratch/diff")"
  python3 - "$scratch/whole/pons.json" "$2/pons.json" <<'PYTHON' || fail "$1: pons.json"
import json, sys
a, b = (json.load(open(path)) for path in sys.argv[1:])
for key in "linears", "totals", "perplexity":
    assert a[key] == b[key], (key, a[key], b[key])
PYTHON
}
forget() { rm -rf "$scratch"/{whole,other,cut,single}{,.run,.part}; }

# recipe LABEL SETTING...: every layout, a run killed in its second wave that goes on from its resume point and without one
recipe() {
  local label=$1
  shift
  set=()
  for setting; do set+=(--set "$setting"); done
  forget
  OMP_NUM_THREADS=1 compress 1 "$scratch/whole" --set wave=2 || { fail "$label: $(cat "$scratch/err")"; return; }
  for layout in "2 1 3" "2 2 1" "3 1 1" "4 2 1"; do # ranks, teams, threads
    # shellcheck disable=SC2086
    read -r ranks teams threads <<<"$layout"
    OMP_NUM_THREADS=$threads compress "$ranks" "$scratch/other" --force --set wave=2 --set "layout.teams=$teams" ||
      fail "$label, ranks and teams $layout: $(cat "$scratch/err")"
    same "$label, ranks and teams $layout" "$scratch/other"
  done
  OMP_NUM_THREADS=1 PONS_FAULT=block.die:0:9 compress 1 "$scratch/cut" --set wave=2 # its third block
  grep -q '"event":"hidden","after":2' "$scratch/cut.run/journal.jsonl" || fail "$label: no resume point"
  cp -r "$scratch/cut.part" "$scratch/kept.part"
  cp -r "$scratch/cut.run" "$scratch/kept.run"
  for hidden in kept lost; do
    [ $hidden = kept ] || rm -r "$scratch/cut.run/hidden"
    OMP_NUM_THREADS=1 compress 3 "$scratch/cut" --set wave=2 --resume || fail "$label, hidden states $hidden: $(cat "$scratch/err")"
    same "$label, resumed, hidden states $hidden" "$scratch/cut"
    rm -rf "$scratch"/cut{,.run,.part}
    mv "$scratch/kept.part" "$scratch/cut.part" 2>/dev/null
    mv "$scratch/kept.run" "$scratch/cut.run" 2>/dev/null
  done
  # killed inside the first wave, one of its blocks committed: the wave starts again, the block stays
  rm -rf "$scratch"/cut{,.run,.part}
  cp -r "$scratch/whole.run" "$scratch/cut.run"
  mkdir "$scratch/cut.part"
  rm -r "$scratch/cut.run/model"
  sed -i -E '/"event":"(finished|hidden|model)"/d; /"event":"block","block":[12]/d' "$scratch/cut.run/journal.jsonl"
  OMP_NUM_THREADS=1 compress 2 "$scratch/cut" --set wave=2 --set layout.teams=2 --resume || fail "$label, inside a wave: $(cat "$scratch/err")"
  grep -q "blocks done = 1 of 3" "$scratch/err" || fail "$label, inside a wave: $(cat "$scratch/err")"
  same "$label, resumed inside a wave" "$scratch/cut"
  compress 1 "$scratch/single" || fail "$label, without waves: $(cat "$scratch/err")"
}

# alike LABEL COUNT KEY...: of the first linears, without waves and with; the others differ
alike() {
  python3 - "$scratch"/{single,whole}/pons.json "$@" <<'PYTHON' || fail "$1: unlike single blocks"
import json, sys
single, wave = (json.load(open(path))["linears"] for path in sys.argv[1:3])
for key in sys.argv[5:]:
    for i, (a, b) in enumerate(zip(single, wave)):
        close = abs(a[key] - b[key]) <= 1e-3 * abs(a[key])
        assert close or i >= int(sys.argv[4]), (key, a, b)
    assert any(a[key] != b[key] for a, b in zip(single[7:], wave[7:])), key
PYTHON
}
lines() { grep -o "\"event\":\"$2\".*" "$scratch/$1.run/journal.jsonl"; }

recipe targets obr.target=quantized_inputs obr.residual=true calibration.holdout=2
alike targets 3 relative_error holdout_ratio # q, k, v of block 0
recipe "compensated inputs" obr.target=compensated_inputs calibration.holdout=1 method=sparsegpt_gptq
# nothing is compressed in front of the first wave: its targets are its weights
python3 - "$scratch/whole/pons.json" <<'PYTHON' || fail "compensated inputs in the first wave"
import json, sys
ratios = [linear["holdout_ratio"] for linear in json.load(open(sys.argv[1]))["linears"]]
assert all(r == 1 for r in ratios[:14]) and all(r != 1 for r in ratios[14:]), ratios
PYTHON

recipe budget prune.allocate=budget weights.allocate_bits=3,4,5
[ "$(lines single allocation)" = "$(lines whole allocation)" ] || fail "budget: another allocation than without waves"

recipe dampings obr.damping=0 obr.damping_retries=3 calibration.windows=1 calibration.length=16 rotation.kind=none
lines whole damping | grep -q '"block":2,' || fail "dampings: none was raised in the second wave"
[ "$(lines single damping | grep -c '"block":0,')" = 4 ] || fail "dampings: $(lines single damping)"
[ "$(lines single damping | grep '"block":0,.*qkv')" = "$(lines whole damping | grep '"block":0,.*qkv')" ] ||
  fail "dampings: unlike single blocks: $(lines single damping) $(lines whole damping)"
for input in qkv o gate_up down; do
  [ "$(lines other damping | grep -c "\"input\":\"$input\"")" = 3 ] || fail "dampings: $input: $(lines other damping)"
done

recipe flatquant rotation.kind=flatquant "rotation.file=$PONS_FIXTURES/frameworks/llama-gqa-flatquant/flat_matrices.pth"
alike flatquant 3 relative_error
recipe everything obr.target=quantized_inputs obr.residual=true prune.allocate=budget obr.damping_retries=2 hessians=keep \
  obr.act_order=true
finish
