#!/usr/bin/env bash
# pons export, alone and on several ranks: RUN to the form of its own output gives the same bytes; from RUN and from OUT the
# same other form. Killed or failing anywhere inside, it leaves OUT missing or complete and RUN as it was, and works again.
# ctest: timeout=600
. "$PONS_SOURCE/tests/fault/fault.sh"

whole=$scratch/whole
export_to() { # RANKS SOURCE FORMAT OUT ARGUMENT...: its exit code
  local ranks=$1 source=$2 format=$3 out=$4
  shift 4
  timeout -s KILL 60 mpirun -n "$ranks" "$PONS_BIN" --quiet export "$source" --to "$format" --out "$out" --json "$@" \
    >"$scratch/out" 2>"$scratch/err"
}
same() { # LABEL A B: the same bytes in every file
  diff -r "$2" "$3" >"$scratch/diff" || fail "$1: $(head -n 3 "$scratch/diff")"
  [ -e "$3.export" ] && fail "$1: $3.export is left"
  return 0
}
state() { find "$whole.run" "$whole" -type f -exec sha256sum {} + | sort; }
before=$(state)

# ---- forms
for ranks in 1 2 3 4; do
  export_to $ranks "$whole.run" compressed-tensors "$scratch/same$ranks" || fail "ranks = $ranks: $(cat "$scratch/err")"
  same "RUN to its own form (ranks = $ranks)" "$whole" "$scratch/same$ranks"
  [ "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["digest"])' "$scratch/out")" = "${expected%% *}" ] ||
    fail "the digest of the report: $(cat "$scratch/out")"
done
export_to 2 "$whole.run" dense "$scratch/dense" --dtype f32 || fail "RUN to dense: $(cat "$scratch/err")"
export_to 3 "$whole" dense "$scratch/dense2" --dtype f32 || fail "OUT to dense: $(cat "$scratch/err")"
same "dense from RUN and from OUT" "$scratch/dense" "$scratch/dense2"
export_to 1 "$scratch/dense" dense "$scratch/half" --dtype bf16 || fail "dense to dense: $(cat "$scratch/err")"
export_to 1 "$whole.run" dense "$scratch/half2" || fail "RUN to dense: $(cat "$scratch/err")"
same "bf16 from f32 and from RUN" "$scratch/half2" "$scratch/half"
python3 - "$scratch/half" <<'PY' || fail "the manifest of an export"
import json, sys
m = json.load(open(sys.argv[1] + "/pons.json"))
assert m["export"] == {"format": "dense", "dtype": "BF16"} and len(m["files"]) == 4, m["export"]
PY
ppl() { timeout 60 "$PONS_BIN" --quiet eval ppl --model "$1" --text "$scratch/text.ids" --length 32 --windows 5 --json |
  python3 -c 'import json, sys; print("%.9g" % json.load(sys.stdin)["perplexity"])'; }
[ "$(ppl "$scratch/dense")" = "$(ppl "$whole")" ] || fail "dense f32: perplexity $(ppl "$scratch/dense"), packed $(ppl "$whole")"

# a run whose own output is dense has the codes, its output has not
compress 2 "$scratch/wide" --set output.format=dense || fail "a dense run: $(cat "$scratch/err")"
export_to 2 "$scratch/wide.run" dense "$scratch/wide2" || fail "a dense RUN: $(cat "$scratch/err")"
same "a dense RUN to its own form" "$scratch/wide" "$scratch/wide2"
export_to 1 "$scratch/wide.run" compressed-tensors "$scratch/codes" || fail "codes of a dense RUN: $(cat "$scratch/err")"
[ "$(state)" = "$before" ] || fail "a source has changed: $(diff <(echo "$before") <(state))"

# ---- refusals
arguments=(--quiet export "$whole.run")
refuses 2 'PATH is missing' export --to dense --out x
refuses 2 '--to is missing' "${arguments[@]}" --out x
refuses 2 '--out is missing' "${arguments[@]}" --to dense
refuses 2 "--to: found 'gptq'; allowed are compressed-tensors, dense" "${arguments[@]}" --to gptq --out x
refuses 2 "--dtype: found 'fp8'; allowed are f32, f16, bf16" "${arguments[@]}" --to dense --out x --dtype fp8
refuses 2 'must be apart' "${arguments[@]}" --to dense --out "$whole.run/x"
refuses 7 'dense exists; --force replaces it' "${arguments[@]}" --to dense --out "$scratch/dense"
mkdir "$scratch/mine" && touch "$scratch/mine/file"
refuses 7 "only a directory with pons.json" "${arguments[@]}" --to dense --out "$scratch/mine" --force
refuses 4 'neither a state directory nor an output directory' --quiet export "$model" --to dense --out "$scratch/x"
refuses 5 'dense output, which has no codes' --quiet export "$scratch/wide" --to compressed-tensors --out "$scratch/x"
mkdir "$scratch/busy.part"
refuses 7 'busy.part exists: a run of pons compress writes this output' "${arguments[@]}" --to dense --out "$scratch/busy"
export_to 2 "$whole.run" compressed-tensors "$scratch/dense" --force || fail "--force: $(cat "$scratch/err")"
same "--force" "$whole" "$scratch/dense"

# ---- failures and kills at every site inside, on every rank
while read -r site rank code pattern; do
  out=$scratch/faulty
  PONS_FAULT=$site:$rank export_to 3 "$whole.run" compressed-tensors "$out" </dev/null
  got=$?
  [ $got = "$code" ] || fail "$site:$rank: exit code $got, not $code: $(cat "$scratch/err")"
  [ "$code" = 137 ] || grep -qE "^pons: .*$pattern" "$scratch/err" || fail "$site:$rank: $(cat "$scratch/err")"
  [ "$code" = 137 ] || [ ! -e "$out.export" ] || fail "$site:$rank: OUT.export is left"
  if [ "$site" = out.die ]; then same "$site" "$whole" "$out"; else [ ! -e "$out" ] || fail "$site:$rank: OUT is there"; fi
  [ "$(state)" = "$before" ] || fail "$site:$rank: RUN has changed"
  rm -rf "$out"
  export_to $((rank + 1)) "$whole.run" compressed-tensors "$out" </dev/null || fail "$site:$rank: again: $(cat "$scratch/err")"
  same "$site:$rank: again" "$whole" "$out"
  rm -rf "$out"
done <<'SITES'
shard.write 0 6 No space left on device
shard.write 1 6 No space left on device
shard.write 2 6 No space left on device
shard.die 0 137
shard.die 1 137
shard.die 2 137
store.read 1 6 Input/output error
memory 2 8 out of memory
export.die 0 137
out.commit 0 6 cannot rename
out.die 0 137
SITES

# ---- killed at random instants
RANDOM=7
SECONDS=0
start=$(date +%s%N)
export_to 3 "$whole.run" compressed-tensors "$scratch/timed" || fail "a run to measure its time: $(cat "$scratch/err")"
span=$((($(date +%s%N) - start) / 1000000))
for i in $(seq 8); do
  out=$scratch/killed$i
  "$PONS_BIN" --quiet export "$whole.run" --to compressed-tensors --out "$out" >"$scratch/out" 2>"$scratch/err" &
  job=$!
  sleep "$(printf '0.%03d' $((RANDOM % (span < 900 ? span : 900))))"
  kill -9 $job 2>/dev/null
  wait $job 2>/dev/null
  [ ! -e "$out" ] || same "kill $i" "$whole" "$out"
  [ "$(state)" = "$before" ] || fail "kill $i: RUN has changed"
  export_to $((1 + i % 3)) "$whole.run" compressed-tensors "$out" --force || fail "kill $i: again: $(cat "$scratch/err")"
  same "kill $i: again" "$whole" "$out"
  rm -rf "$out"
done
finish
