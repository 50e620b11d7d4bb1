#!/usr/bin/env bash
# Model files that become shorter while a run has them open, as on a disk that fails or by another's hand: one sentence with the
# file's name and the same exit code on every rank, no SIGBUS; with the files mended the run goes on to the same bytes.
# ctest: timeout=300
. "$PONS_SOURCE/tests/fault/fault.sh"

whole=$model
model=$scratch/model
ranks_of() { # OUT: process numbers of the ranks that work on it
  pgrep -f -- "--out $1 --json" | while read -r pid; do
    [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$PONS_BIN")" ] && echo "$pid"
  done
}
mend() { rm -rf "$model" && cp -r "$whole" "$model"; }

for ranks in 1 2 3; do
  out=$scratch/out$ranks
  mend
  compress $ranks "$out" &
  job=$!
  for _ in $(seq 400); do [ -s "$out.run/journal.jsonl" ] && break; sleep 0.02; done
  # shellcheck disable=SC2046
  kill -STOP $(ranks_of "$out")
  for shard in "$model"/*.safetensors; do truncate -s $(($(stat -c %s "$shard") / 2)) "$shard"; done
  # shellcheck disable=SC2046
  kill -CONT $(ranks_of "$out")
  wait $job
  code=$?
  [ $code = 6 ] || fail "$ranks ranks: exit code $code, not 6: $(cat "$scratch/err")"
  grep -qE '^pons: .*cannot read .*/model/model-0000[0-9]-of-00004\.safetensors: .*: the file had [0-9]+ bytes when it was opened and now ends at [0-9]+' \
    "$scratch/err" || fail "$ranks ranks: $(cat "$scratch/err")"
  [ "$(grep -c '^pons: ' "$scratch/err")" = 1 ] || fail "$ranks ranks: more than one sentence: $(cat "$scratch/err")"
  mend
  resumes "$ranks ranks" $((ranks % 3 + 1)) "$out"
done
finish
