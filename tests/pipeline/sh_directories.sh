#!/usr/bin/env bash
# Where OUT and RUN may be: apart from each other and from the model, whatever their names look like; what is left when
# only the report fails.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"

model=$scratch/model
cp -r "$PONS_FIXTURES/models/llama-gqa" "$model"
python3 -c "print(*((7 * i * i + i) % 320 for i in range(500)))" >"$scratch/calib.ids"
printf 'method: obr_gptq\ncalibration: {windows: 4, length: 32}\n' >"$scratch/recipe.yaml"
work=$scratch/work
mkdir "$work"
compress() { # RANKS ARGUMENT...
  local ranks=$1
  shift
  on "$ranks" --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --json "$@"
}
# apart OUT RUN [OPTION]: refused before anything is made or removed.
apart() {
  local before after
  before=$(find "$work" "$model" | sort)
  refuses 2 'must be apart' --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" \
    --out "$1" --run "$2" "${@:3}"
  after=$(find "$work" "$model" | sort)
  [ "$before" = "$after" ] || fail "--out $1 --run $2: the refusal changed: $(diff <(echo "$before") <(echo "$after"))"
}

# ---- a slash at the end of OUT, as the shell completes names: RUN is beside OUT, not in it
for ranks in 1 3; do
  compress $ranks --out "$work/slash/" --force || fail "--out with a slash (ranks = $ranks): $(cat "$scratch/err")"
  [ -f "$work/slash/pons.json" ] && [ -f "$work/slash.run/journal.jsonl" ] && [ ! -e "$work/slash/.run" ] ||
    fail "--out with a slash: $(find "$work" -maxdepth 2)"
done

# ---- one in the other, there already or not, by name or by link
apart "$work/a" "$work/a"
apart "$work/a" "$work/a/"
apart "$work/a" "$work/a/run"
apart "$work/a/b/out" "$work/a"
apart "$work/slash" "$work/slash/run" --force
apart "$work/slash.run/out" "$work/slash.run" --force
ln -s slash "$work/link"
apart "$work/slash" "$work/link/run" --force
apart "$model/out" "$work/a"
apart "$work/a" "$model/run"
apart "$model" "$work/a" --force
compress 1 --out "$work/ab" --run "$work/a" || fail "names that only begin alike: $(cat "$scratch/err")"

# ---- what lies at OUT.part is not removed unless --force says so
mkdir "$work/c.part"
echo mine >"$work/c.part/file"
refuses 7 'c.part exists' --quiet compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/calib.ids" --out "$work/c/"
[ "$(cat "$work/c.part/file")" = mine ] && [ ! -e "$work/c.run" ] || fail "OUT.part: the refusal changed $(find "$work/c"*)"
compress 1 --out "$work/c" --force || fail "OUT.part and --force: $(cat "$scratch/err")"
[ -f "$work/c/pons.json" ] && [ ! -e "$work/c.part" ] || fail "OUT.part and --force: $(find "$work/c"*)"

# ---- a name that is not UTF-8 is printed with question marks, and nothing fails
name=$work/$'caf\xe9'
compress 1 --out "$name" || fail "a name that is not UTF-8: $(cat "$scratch/err")"
python3 -c 'import json, sys; assert json.load(sys.stdin)["out"].endswith("/caf?")' <"$scratch/out" ||
  fail "a name that is not UTF-8: $(cat "$scratch/out")"
on 1 inspect --json "$name" || fail "inspect of a name that is not UTF-8: $(cat "$scratch/err")"

# ---- RUN's disk is full when only what tells of the result is missing: OUT and RUN stay. The disk has the pages that such
# a run takes before its report, and the last line of the journal holds a name of OUT that is too long for what is left.
disk=$scratch/disk
mkdir "$disk"
pages=$(find "$work/c.run" -type f ! -name report.json ! -name trace.json -printf '%s\n' | awk '{ n += int(($1 + 4095) / 4096) } END { print n }')
if mount -t tmpfs -o size=$((4 * pages))k pons "$disk" 2>/dev/null; then
  long=$work$(printf '/.%.0s' $(seq $(((3960 - ${#work}) / 2))))/late
  for ranks in 1 3; do
    compress $ranks --out "$long" --run "$disk/run" --force
    [ $? = 6 ] || fail "full at the end (ranks = $ranks): not reported: $(cat "$scratch/err")"
    grep -q '^pons: the output is complete.*No space left on device' "$scratch/err" ||
      fail "full at the end (ranks = $ranks): $(cat "$scratch/err")"
    [ -s "$scratch/out" ] && fail "full at the end (ranks = $ranks): a report is printed"
    [ -f "$work/late/pons.json" ] && [ -f "$disk/run/recipe.yaml" ] ||
      fail "full at the end (ranks = $ranks): OUT or RUN is gone: $(find "$work/late" "$disk")"
  done
  umount "$disk"
else
  echo "full disk: not tested (mounting a tmpfs is not permitted)"
fi
# ---- a refusal leaves an empty directory where it is
mkdir "$work/empty" "$work/foreign"
touch "$work/foreign/file"
compress 1 --out "$work/empty" --run "$work/foreign" --force && fail "a foreign state directory is replaced"
[ -d "$work/empty" ] || fail "a refusal removed an empty output directory"
finish
