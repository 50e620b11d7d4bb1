#!/usr/bin/env bash
# A run that was cut off goes on after its last committed block, with another number of ranks, to the same bytes in every
# file of OUT and the same perplexities; what changed in between is refused by name; RUN belongs to one process at a time.
# ctest: timeout=900
. "$PONS_SOURCE/tests/support/program.sh"

model=$scratch/model
cp -r "$PONS_FIXTURES/models/llama-gqa" "$model"
python3 -c "print(*((7 * i * i + i) % 320 for i in range(900)))" >"$scratch/calib.ids"
cat >"$scratch/recipe.yaml" <<YAML
method: obr_gptq
hessians: keep
obr: {solver: dual}
calibration: {windows: 5, length: 32}
checkpoint: {blocks: 1}
evaluate: {text: $scratch/calib.ids, windows: 7, length: 32}
YAML
compress() { # RANKS OUT ARGUMENT...
  local ranks=$1 out=$2
  shift 2
  on "$ranks" --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$out" --json "$@"
}
field() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[k]
print(v)' "$scratch/out" "$1"; }

compress 2 "$scratch/whole" || fail "an uninterrupted run: $(cat "$scratch/err")"
expected=$(field perplexity)/$(field digest)/$(field relative_error)/$(field solver.rows_by_iterations)
[ "$(field solver.rows)" = "$(field rows)" ] || fail "iterations of some rows were not counted: $(field solver)"
python3 - "$scratch/whole/pons.json" "$scratch/out" <<'PY' || fail "the manifest's iterations are not the report's"
import json, sys
linears, total = json.load(open(sys.argv[1]))["linears"], json.load(open(sys.argv[2]))["solver"]
each = [e["iterations"] for e in linears]
assert all(i["rows"] == e["rows"] and 0 < i["mean"] <= i["most"] for i, e in zip(each, linears))
assert abs(sum(i["mean"] * i["rows"] for i in each) - total["mean"] * total["rows"]) < 1e-6 * total["mean"] * total["rows"]
assert max(i["most"] for i in each) == total["most"] == len(total["rows_by_iterations"]) - 1 and sum(total["rows_by_iterations"]) == total["rows"]
PY
layers=$(grep -c '"event":"block"' "$scratch/whole.run/journal.jsonl")
[ "$layers" -ge 2 ] || fail "the model has only $layers blocks"

# cut N OUT: what a process leaves that dies after N blocks were committed, in the middle of the next one's files; after all
# of them, in the middle of RUN/model.
cut() {
  local n=$1 out=$2
  rm -rf "$out" "$out.part" "$out.run"
  cp -r "$scratch/whole.run" "$out.run"
  mkdir "$out.part"
  python3 - "$n" "$out.run" <<'PY'
import json, os, sys
n, run = int(sys.argv[1]), sys.argv[2]
lines, blocks = [], 0
for line in open(run + "/journal.jsonl"):
    event = json.loads(line)["event"]
    if event == "block" and blocks == n or event in ("model", "finished"):
        break
    blocks += event == "block"
    lines.append(line)
open(run + "/journal.jsonl", "w").write("".join(lines) + '{"event":"blo')  # the half line of a dying process
os.rename(run + "/model", run + "/model.part")
os.remove(run + "/model.part/run.json")
for later in sorted(os.listdir(run + "/blocks"))[n + 1:]:  # block n is published, but not in the journal
    os.rename(f"{run}/blocks/{later}", f"{run}/blocks/{later}.part")
PY
}
flip() { # FILE [BYTES]: one bit so many bytes before its end
  python3 -c 'import sys; f = open(sys.argv[1], "r+b"); n = -int(sys.argv[2]); f.seek(n, 2); b = f.read(1); f.seek(n, 2); f.write(bytes([b[0] ^ 4]))' "$1" "${2:-5}"
}
same() { # LABEL OUT: the same bytes in every file
  diff -r "$scratch/whole" "$2" >"$scratch/diff" || fail "$1: $(cat "$scratch/diff")"
  got=$(field perplexity)/$(field digest)/$(field relative_error)/$(field solver.rows_by_iterations)
  [ "$got" = "$expected" ] || fail "$1: reports $got, expected $expected"
  [ ! -e "$2.part" ] || fail "$1: OUT.part is still there"
}

# ---- cut after every number of blocks, resumed with every number of ranks in turn
for n in $(seq 0 "$layers"); do
  cut "$n" "$scratch/out1"
  ranks=$((n % 4 + 1))
  compress $ranks "$scratch/out1" --resume || fail "resumed after $n blocks (ranks = $ranks): $(cat "$scratch/err")"
  same "resumed after $n blocks (ranks = $ranks)" "$scratch/out1"
  [ "$(ls "$scratch/out1.run/hessians" | wc -l)" = "$layers" ] || fail "resumed after $n blocks: Hessians are missing"
done

# ---- from a resume point written by three ranks
compress 3 "$scratch/points" || fail "with resume points: $(cat "$scratch/err")"
[ ! -e "$scratch/points.run/hidden" ] || fail "a finished run keeps its resume points"
disk=$scratch/full
cut 0 "$scratch/out2"
rm -rf "$scratch/out2.run" "$scratch/out2.part"
# The embedding and head do not fit: the run fails after its last block, with the resume points in place.
mkdir "$disk"
if mount -t tmpfs -o size=200k pons "$disk" 2>/dev/null; then
  compress 3 "$disk/out" --run "$scratch/out2.run"
  code=$?
  [ $code = 6 ] || fail "a full disk: exit code $code"
  grep -q 'No space left on device; [1-9] of [0-9]* blocks are finished: the same command with --resume goes on' "$scratch/err" ||
    fail "a full disk: $(cat "$scratch/err")"
  [ "$(ls "$scratch/out2.run/hidden" | wc -l)" = 1 ] || fail "a full disk: resume points: $(ls "$scratch/out2.run/hidden")"
  mount -o remount,size=30m "$disk"
  compress 2 "$disk/out" --run "$scratch/out2.run" --resume || fail "after a full disk: $(cat "$scratch/err")"
  same "after a full disk" "$disk/out"
  umount "$disk"
else
  echo "full disk: not tested (mounting a tmpfs is not permitted)"
fi

# ---- cut between the appearance of OUT and its report; asked for once more when all is done
cp -r "$scratch/whole" "$scratch/out3"
cp -r "$scratch/whole.run" "$scratch/out3.run"
sed -i '$d' "$scratch/out3.run/journal.jsonl"
for ranks in 2 1; do
  compress $ranks "$scratch/out3" --resume || fail "only the report is missing: $(cat "$scratch/err")"
  same "only the report is missing" "$scratch/out3"
done

# ---- cut between RUN/model and OUT, in the middle of filling OUT.part: OUT is made of RUN, nothing is computed
cut_complete() { # OUT
  rm -rf "$1" "$1.part" "$1.run"
  cp -r "$scratch/whole.run" "$1.run"
  sed -i '$d' "$1.run/journal.jsonl"
  cp -r "$scratch/whole" "$1.part"
  rm "$1.part/pons.json"
}
for ranks in 1 3; do
  cut_complete "$scratch/made"
  on $ranks compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/made" --json --resume ||
    fail "OUT of a complete RUN (ranks = $ranks): $(cat "$scratch/err")"
  grep -q 'resume: all [0-9]* blocks are done' "$scratch/err" || fail "OUT of a complete RUN: $(cat "$scratch/err")"
  grep -q 'compress: blocks' "$scratch/err" && fail "OUT of a complete RUN: blocks are compressed again"
  same "OUT of a complete RUN (ranks = $ranks)" "$scratch/made"
done
rm -r "$scratch/made" # of a finished run, too
compress 2 "$scratch/made" --resume || fail "OUT of a finished RUN: $(cat "$scratch/err")"
same "OUT of a finished RUN" "$scratch/made"
cut_complete "$scratch/made"
flip "$scratch/made.run/blocks/block-001.safetensors" 2000
compress 2 "$scratch/made" --resume || fail "a complete RUN with a damaged block: $(cat "$scratch/err")"
same "a complete RUN with a damaged block" "$scratch/made"

# ---- a damaged block is compressed again, loudly
cut 2 "$scratch/out4"
flip "$scratch/out4.run/blocks/block-001.safetensors" 2000
on 2 compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$scratch/out4" --json --resume ||
  fail "a damaged block: $(cat "$scratch/err")"
grep -q 'warning: resume: .*block-001.safetensors: .* is damaged (checksum); compressing again from block 1 on' "$scratch/err" || fail "a damaged block: $(cat "$scratch/err")"
same "a damaged block" "$scratch/out4"

# ---- nothing there yet: a run begins
compress 1 "$scratch/out5" --resume || fail "--resume of nothing: $(cat "$scratch/err")"
same "--resume of nothing" "$scratch/out5"

# ---- what changed is refused by name, and nothing is lost by it
cut 1 "$scratch/out6"
before=$(find "$scratch/out6.part" "$scratch/out6.run" -type f ! -name lock -exec sha256sum {} + | sort | grep -v journal)
resume() { refuses "$1" "$2" --quiet compress "$scratch/recipe.yaml" --model "${4:-$model}" --calib "${3:-$scratch/calib.ids}" \
  --out "$scratch/out6" --resume "${@:5}"; }
resume 3 'prune.sparsity: begun with 0.5, now 0.25' "" "" --set prune.sparsity=0.25
journal=$scratch/out6.run/journal.jsonl
cp "$journal" "$scratch/journal"
sed -i 's/commit [0-9a-z-]*, gcc/commit 0123456789ab, gcc/; s/commit [0-9a-z-]*, clang/commit 0123456789ab, clang/' "$journal"
resume 4 'the program is not the same: [0-9.]*, commit 0123456789ab, .* then, [0-9.]*, commit .* now' ""
cp "$scratch/journal" "$journal"
python3 -c "print(*((5 * i * i + i) % 320 for i in range(900)))" >"$scratch/other.ids"
resume 4 'the calibration text is not the same' "$scratch/other.ids"
cp -r "$model" "$scratch/changed"
flip "$scratch/changed/model-00001-of-00004.safetensors"
resume 4 'the model is not the same' "" "$scratch/changed"
cp "$scratch/calib.ids" "$scratch/kept.ids"
cp "$scratch/other.ids" "$scratch/calib.ids"
resume 4 'the evaluation text is not the same' "$scratch/kept.ids"
cp "$scratch/kept.ids" "$scratch/calib.ids"
after=$(find "$scratch/out6.part" "$scratch/out6.run" -type f ! -name lock -exec sha256sum {} + | sort | grep -v journal)
[ "$before" = "$after" ] || fail "a refusal changed: $(diff <(echo "$before") <(echo "$after"))"
refuses 7 'a run that did not finish; give --resume' --quiet compress "$scratch/recipe.yaml" --model "$model" \
  --calib "$scratch/calib.ids" --out "$scratch/out6"
refuses 2 'force.*resume' --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" \
  --out "$scratch/out6" --resume --force
cp -r "$scratch/out6.run" "$scratch/old.run" # of a version that committed blocks to OUT.part
sed -i 's/"layout":1,//' "$scratch/old.run/journal.jsonl"
refuses 4 'old.run: found a run of layout 0, .*allowed: layout 1; --force begins anew' --quiet compress "$scratch/recipe.yaml" \
  --model "$model" --calib "$scratch/calib.ids" --out "$scratch/old" --resume
compress 3 "$scratch/out6" --resume --set checkpoint.blocks=0 --set coordinator_works=false ||
  fail "keys that change no bit: $(cat "$scratch/err")"
same "keys that change no bit" "$scratch/out6"

# ---- a second process on the same RUN
cut 1 "$scratch/out7"
python3 - "$scratch/out7.run/lock" "$scratch/locked" <<'PY' &
import fcntl, os, sys, time
f = open(sys.argv[1], "w")
fcntl.lockf(f, fcntl.LOCK_EX)
f.write("node7 process 1234\n")
f.flush()
open(sys.argv[2], "w").close()
time.sleep(60)
PY
holder=$!
while [ ! -e "$scratch/locked" ]; do sleep 0.05; done
for option in --resume --force; do
  refuses 7 'out7.run is in use by node7 process 1234' --quiet compress "$scratch/recipe.yaml" --model "$model" \
    --calib "$scratch/calib.ids" --out "$scratch/out7" $option
done
kill -9 $holder
wait $holder 2>/dev/null
compress 2 "$scratch/out7" --resume || fail "after the holder of the lock died: $(cat "$scratch/err")"
same "after the holder of the lock died" "$scratch/out7"
finish
