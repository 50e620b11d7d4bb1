#!/usr/bin/env bash
# Waves: the bytes depend on the wave's size, not on ranks, teams or threads; what the first group of the first block sees is what
# it sees without waves; a run that was cut inside or between waves goes on to the same bytes; layouts that cannot be are refused.
# ctest: timeout=900
. "$PONS_SOURCE/tests/support/program.sh"
model=$PONS_FIXTURES/models/llama-gqa # three blocks: waves of two and one
python3 -c "print(*((7 * i * i + i) % 320 for i in range(900)))" >"$scratch/calib.ids"
cat >"$scratch/recipe.yaml" <<YAML
hessians: keep
calibration: {windows: 5, length: 32}
checkpoint: {blocks: 1}
evaluate: {text: $scratch/calib.ids, windows: 7, length: 32}
YAML
compress() { # RANKS OUT ARGUMENT...
  local ranks=$1 out=$2
  shift 2
  on "$ranks" compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$out" --force --json "$@"
}
perplexities() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["perplexity"])' "$scratch/out"; }

# recipe.yaml, and so pons.json, tells wave and layout: compare what they do not reach
same() { # LABEL OTHER
  diff -r -x pons.json "$scratch/whole" "$2" >"$scratch/diff" || fail "$1: $(cat "$scratch/diff")"
  [ "$(perplexities)" = "$expected" ] || fail "$1: perplexities $(perplexities), expected $expected"
}

export OMP_NUM_THREADS=1
compress 1 "$scratch/whole" --set wave=2 || fail "wave of 2: $(cat "$scratch/err")"
expected=$(perplexities)
for layout in "2 2" "3 3" "4 2" "4 1"; do # ranks teams; three ranks make one team here, unless told
  # shellcheck disable=SC2086
  set -- $layout
  teams=$2
  [ "$1" = 3 ] && teams=0
  OMP_NUM_THREADS=$((3 - $1 % 2)) compress "$1" "$scratch/other" --set wave=2 --set "layout.teams=$teams" ||
    fail "ranks and teams $layout: $(cat "$scratch/err")"
  same "ranks and teams $layout" "$scratch/other"
  python3 - "$scratch/whole.run" "$scratch/other.run" <<'PYTHON' || fail "Hessians of ranks and teams $layout"
import re, subprocess, sys
for block in range(3):
    dumps = [subprocess.run(["h5dump", f"{run}/hessians/block-{block:03}.h5"], check=True, capture_output=True).stdout
             for run in sys.argv[1:]]
    assert dumps[0].split(b"{", 1)[1] == dumps[1].split(b"{", 1)[1], block
    assert re.search(rb'ATTRIBUTE "wave".*?\(0\): 2', dumps[0], re.S)
PYTHON
done
# What the trace and the report say of two teams.
compress 4 "$scratch/all" --set wave=3 --set layout.teams=2 || fail "two teams for three blocks: $(cat "$scratch/err")"
cp "$scratch/out" "$scratch/report.json"
python3 - "$scratch/report.json" "$scratch/all.run/trace.json" <<'PYTHON' || fail "trace of two teams"
import json, sys
report, events = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))["traceEvents"]
assert len(report["idle"]) == 2 and all(0 < share < 1 for share in report["idle"])
assert report["seconds"]["gather"] > 0
assert {"forward", "hessian", "factor", "solve"} <= set(report["efficiency"]) and max(report["efficiency"].values()) <= 1.0001
spans = [e for e in events if e["ph"] == "X"]
behind = [e for e in spans if e["tid"] >= 4]  # of ranks 0 to 3 as 4 to 7
assert {(e["pid"], e["tid"]) for e in spans if e["tid"] < 4} == {(0, 0), (0, 1), (1, 2), (1, 3)}
assert {e["name"] for e in behind} <= {"read", "pack"}
assert {(e["pid"], e["tid"]) for e in behind if e["name"] == "pack"} == {(0, 4)}
for e in spans:
    assert 0 <= e["ts"] and 0 < e["dur"] and e["ts"] + e["dur"] <= 1e6 * report["seconds"]["total"] + 1e5
# every block is solved by one team alone
for block, team in ((0, 0), (1, 0), (2, 1)):
    assert {e["pid"] for e in spans if e["name"] == "solve" and e["args"]["block"] == block} == {team}, block
PYTHON
compress 3 "$scratch/all" --set wave=3 --set layout.ranks_per_team=1 || fail "a team for each block: $(cat "$scratch/err")"

# The first group of block 0 has the same inputs in any wave; the whole model is about as good.
compress 2 "$scratch/single" || fail "wave of 1: $(cat "$scratch/err")"
python3 - "$scratch"/{single,whole,all}/pons.json <<'PYTHON' || fail "a wave is unlike single blocks"
import json, sys
single, *waves = (json.load(open(path)) for path in sys.argv[1:])
for wave in waves:
    for a, b in zip(single["linears"][:3], wave["linears"][:3]):
        assert a["name"] == b["name"] and abs(a["relative_error"] / b["relative_error"] - 1) < 1e-3, (a, b)
    assert 0.9 < wave["perplexity"]["weights_only"] / single["perplexity"]["weights_only"] < 1.1
    assert wave["linears"][7]["relative_error"] != single["linears"][7]["relative_error"]
PYTHON

# cut N: what a process leaves that dies after N blocks were committed
cut() {
  rm -rf "$scratch/cut" "$scratch/cut.part" "$scratch/cut.run"
  cp -r "$scratch/whole.run" "$scratch/cut.run"
  mkdir "$scratch/cut.part"
  rm -r "$scratch/cut.run/model"
  python3 - "$1" "$scratch/cut.run/journal.jsonl" <<'PYTHON'
import json, sys
n, journal = int(sys.argv[1]), sys.argv[2]
lines = []
for line in open(journal):
    event = json.loads(line)
    if event["event"] in ("model", "finished") or event["event"] == "block" and event["block"] >= n:
        break
    lines.append(line)
open(journal, "w").write("".join(lines))
PYTHON
}
for n in 0 1 2; do
  cut $n
  ranks=$((4 - n))
  on $ranks compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/cut" --json --resume \
    --set wave=2 || fail "resumed after $n blocks: $(cat "$scratch/err")"
  same "resumed after $n blocks (ranks = $ranks)" "$scratch/cut"
done
cut 1
on 2 compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/cut" --resume --set wave=3
[ $? != 0 ] || fail "resumed with another wave"
grep -q wave "$scratch/err" || fail "another wave: $(cat "$scratch/err")"

run=(compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/no")
refuses 3 'layout.teams: found 2, allowed: no value with wave 1' "${run[@]}" --set layout.teams=2
refuses 3 'wave: found 2, allowed: 1 with a method that needs no Hessian' "${run[@]}" --set wave=2 --set method=rtn
refuses 3 'coordinator_works: found false, allowed: true with a wave' "${run[@]}" --set wave=2 --set coordinator_works=false
refuses 3 'layout: found teams 7, ranks_per_team 0; allowed: numbers whose product is the [13] ranks' "${run[@]}" --set wave=2 --set layout.teams=7
finish
