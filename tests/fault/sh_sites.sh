#!/usr/bin/env bash
# Every site of src/base/fault.h on the first, second and last of three ranks: the job ends in time, with one sentence and the
# exit code of that failure; what it leaves is resumed, with another number of ranks, to the bytes of an undisturbed run.
# ctest: timeout=900
. "$PONS_SOURCE/tests/fault/fault.sh"

# "code pattern" of a site; killed processes say nothing.
promise() {
  case $1 in
  memory) echo "8 out of memory" ;;
  store.read) echo "6 cannot read .*(model|rank)-[0-9a-z-]+\.safetensors: .*Input/output error" ;;
  store.ahead | scratch.name | shared) echo 0 ;; # nothing is lost
  model.read) echo "6 block [0-9]+ [a-z]+_proj: cannot read" ;;
  hessian.nan) echo "9 block [0-9]+ [a-z_]+: .*(NaN|Inf)" ;;
  row.nan) echo "9 block [0-9]+ [a-z]+_proj: row [0-9]+: .*(NaN|Inf)" ;;
  hessian.spd) echo "9 block [0-9]+ [a-z_]+: .*not positive definite" ;;
  hessians.*) echo "6 block-[0-9]+.h5.part" ;;
  scratch) echo "6 layout.scratch: .*/disk: cannot reserve [0-9]+ bytes: No space left on device" ;;
  commit.write | shard.write | journal.append | hidden.write) echo "6 No space left on device" ;;
  out.commit) echo "6 cannot rename" ;;
  block.stop) echo "99 stopped by SIGUSR1" ;;
  *.die) echo "137 signal 9" ;;
  *) fail "no promise about the site $1" && echo 0 ;;
  esac
}

sed -nE 's/^ *X\([A-Z_]+, "([a-z.]+)", "(all|0)".*/\1 \2/p' "$PONS_SOURCE/src/base/fault.h" >"$scratch/sites"
[ "$(wc -l <"$scratch/sites")" -ge 10 ] || fail "no table of sites in src/base/fault.h"
number=0
while read -r site ranks; do
  for rank in 0 1 2; do
    [ "$ranks" = all ] || [ $rank = 0 ] || continue
    number=$((number + 1))
    count=$((1 + number % 3)) # the first, second or third passage: before and after something was committed
    case $site in
    out.* | hidden.* | hessians.create | model.die | export.die) count=1 ;;
    shard.*) [ $rank = 0 ] || count=1 ;; # rank 0: of RUN/model, of its block, of the ends of OUT
    memory) count=$((500 * (1 + number % 3))) ;;
    esac
    read -r code pattern < <(promise "$site")
    SECONDS=0
    PONS_FAULT=$site:$rank:$count compress 3 "$scratch/out$number" </dev/null
    got=$?
    [ $SECONDS -lt 30 ] || fail "$site:$rank:$count took $SECONDS s"
    # threads allocate, too: now and then it is memory that can be done without
    [ $got = "$code" ] || [ "$site $got" = "memory 0" ] || fail "$site:$rank:$count: exit code $got, not $code: $(cat "$scratch/err")"
    [ $got = 0 ] || grep -qE "$pattern" "$scratch/err" || fail "$site:$rank:$count: no '$pattern' in: $(cat "$scratch/err")"
    [ $got = 137 ] || [ $got = 0 ] || [ "$(grep -c '^pons: ' "$scratch/err")" = 1 ] || fail "$site:$rank:$count: $(cat "$scratch/err")"
    resumes "$site:$rank:$count" $((1 + number % 4)) "$scratch/out$number" </dev/null
  done
done <"$scratch/sites"

# ---- a resumed run with committed blocks that cannot write its first line
PONS_FAULT=block.die:1:9 compress 3 "$scratch/twice" </dev/null # in the third block: the first one is committed
grep -q '"event":"block"' "$scratch/twice.run/journal.jsonl" || fail "resume: no block is committed"
PONS_FAULT=journal.append:0 compress 3 "$scratch/twice" --resume </dev/null
got=$?
[ $got = 6 ] || fail "resume: exit code $got, not 6: $(cat "$scratch/err")"
grep -q '^pons: .*No space left on device' "$scratch/err" || fail "resume: $(cat "$scratch/err")"
resumes "resume of a resume" 2 "$scratch/twice" </dev/null

# ---- a site that is not there, a damping that may be raised
PONS_FAULT=nowhere:0 compress 2 "$scratch/none" && fail "an unknown site is accepted"
grep -q '^pons: PONS_FAULT: found nowhere:0, allowed: .*shard.write' "$scratch/err" || fail "an unknown site: $(cat "$scratch/err")"
PONS_FAULT=hessian.spd:1:3 timeout 60 mpirun -n 2 "$PONS_BIN" compress "$scratch/recipe.yaml" --model "$model" --calib "$scratch/text.ids" \
  --out "$scratch/damped" --set obr.damping_retries=1 >"$scratch/out" 2>"$scratch/err" || fail "damping: $(cat "$scratch/err")"
grep -q 'warning: block 0 gate_up: .*damping raised to 0.1' "$scratch/err" || fail "damping: $(cat "$scratch/err")"
grep -q '"event":"damping","block":0,"input":"gate_up","damping":0.1' "$scratch/damped.run/journal.jsonl" || fail "damping: not in the journal"
cmp -s "$scratch/damped/model-00002-of-00004.safetensors" "$scratch/whole/model-00002-of-00004.safetensors" &&
  fail "damping: the raised one gives the same bytes"
finish
