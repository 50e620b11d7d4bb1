#!/usr/bin/env bash
# pons eval ppl on the golden models against the perplexity of the expected logits, at several rank and thread counts.
. "$PONS_SOURCE/tests/support/program.sh"

for model in "$PONS_FIXTURES"/models/*/; do
  name=$(basename "$model")
  # Each sequence of the fixture is one window.
  read -r windows length expected < <(PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$model" "$scratch/$name.ids" <<'PYTHON'
import math, sys
import safetensors
fixture = safetensors.load(sys.argv[1] + "/expected.safetensors")
windows, length = fixture["input_ids"][1]
vocab = fixture["logits"][1][2]
ids, logits = safetensors.numbers(fixture["input_ids"]), safetensors.numbers(fixture["logits"])
open(sys.argv[2], "w").write(" ".join(map(str, ids)))
total = 0.0
for w in range(windows):
    for t in range(length - 1):
        at = (w * length + t) * vocab
        row = logits[at:at + vocab]
        top = max(row)
        total += top + math.log(sum(math.exp(x - top) for x in row)) - row[ids[w * length + t + 1]]
print(windows, length, math.exp(total / (windows * (length - 1))))
PYTHON
)
  for ranks in 1 2 3; do
    OMP_NUM_THREADS=$((4 - ranks)) on $ranks eval ppl --model "$model" --text "$scratch/$name.ids" --windows "$windows" \
      --length "$length" --compute fp32 --json || fail "$name at $ranks ranks: $(cat "$scratch/err")"
    grep -v '"seconds"' "$scratch/out" >"$scratch/$name.$ranks"
    cmp -s "$scratch/$name.1" "$scratch/$name.$ranks" || fail "$name: $ranks ranks differ from one"
  done
  python3 - "$scratch/$name.1" "$windows" "$length" "$expected" <<'PYTHON' || fail "$name: perplexity"
import re, sys
text, (windows, length, expected) = open(sys.argv[1]).read(), map(float, sys.argv[2:])
got = {key: float(value) for key, value in re.findall(r'"(\w+)": ([-+.0-9e]+)', text)}
print("perplexity", got["perplexity"], "expected", expected)
sys.exit(not (abs(got["perplexity"] / expected - 1) < 2e-4 and got["windows"] == windows
              and got["tokens"] == windows * length))
PYTHON
done

model=$PONS_FIXTURES/models/llama-gqa
ids=$scratch/llama-gqa.ids
accepts eval ppl --model "$model" --text "$ids" --length 48
grep -q '^windows *2$' "$scratch/out" || fail "all windows that fit: $(cat "$scratch/out")"

# --join is what the reference programs do with the lines of a text.
cp -r "$model" "$scratch/model" && cp "$PONS_FIXTURES/tasks/tokenizer.json" "$scratch/model"
head -n 12 "$PONS_SOURCE/tests/data/wikitext2-valid.txt" | sed '3s/$/  /; 5s/.*/ /' >"$scratch/text"
python3 - "$scratch" <<'PYTHON'
import sys
rows = [line if line.strip() else "" for line in open(sys.argv[1] + "/text", encoding="utf-8")]
open(sys.argv[1] + "/lines", "w", encoding="utf-8").write("\n\n".join(rows))
open(sys.argv[1] + "/stripped", "w", encoding="utf-8").write("\n\n".join(row.strip() for row in rows))
PYTHON
for how in none lines stripped; do
  [ $how = none ] && cp "$scratch/text" "$scratch/none"
  on 1 eval ppl --model "$scratch/model" --text "$scratch/$how" --length 100 || fail "$how: $(cat "$scratch/err")"
  grep -v seconds "$scratch/out" >"$scratch/want"
  on 1 eval ppl --model "$scratch/model" --text "$scratch/text" --join $how --length 100 || fail "--join $how: $(cat "$scratch/err")"
  grep -v seconds "$scratch/out" | cmp -s - "$scratch/want" || fail "--join $how is not the joined text"
  sed -n 1p "$scratch/want" >>"$scratch/each"
done
[ "$(sort -u "$scratch/each" | wc -l)" = 3 ] || fail "texts joined in three ways do not differ: $(cat "$scratch/each")"
refuses 4 'no lines to join' eval ppl --model "$model" --text "$ids" --join lines
refuses 2 "\-\-join: found 'x'" eval ppl --model "$model" --text "$ids" --join x
refuses 4 "$(basename "$ids")|windows" eval ppl --model "$model" --text "$ids" --windows 3 --length 48
refuses 4 'windows|tokens' --quiet eval ppl --model "$model" --text "$ids"
echo "1 2 3 999999" >"$scratch/range.ids"
refuses 4 '999999' eval ppl --model "$model" --text "$scratch/range.ids" --length 4
refuses 6 'missing.ids' eval ppl --model "$model" --text "$scratch/missing.ids"
refuses 6 'missing-model' eval ppl --model "$scratch/missing-model" --text "$ids"
finish
