#!/usr/bin/env bash
# pons eval tasks on the golden models against the log-likelihoods that transformers gives (tests/golden/tasks/make.py), the same file of
# items at any number of ranks, scores counted again from the items, and files that are refused.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
fixture=$PONS_FIXTURES/tasks
names="piqa boolq hellaswag arc_easy arc_challenge winogrande"
tasks=()
for name in $names; do tasks+=(--task "$name=$fixture/$name.jsonl"); done

# with_tokenizer MODEL: its copy in $scratch with the fixture's tokenizer.
with_tokenizer() {
  cp -r "$PONS_FIXTURES/models/$1" "$scratch/$1" && cp "$fixture/tokenizer.json" "$scratch/$1"
}

for model in $(ls "$PONS_FIXTURES/models"); do
  with_tokenizer "$model"
  for ranks in 1 2 3 4; do
    [ $ranks -gt 1 ] && [ "$model" != llama-gqa ] && continue
    OMP_NUM_THREADS=$((ranks % 2 + 1)) on $ranks eval tasks --model "$scratch/$model" "${tasks[@]}" --compute fp32 --json \
      --items "$scratch/items.$ranks" || fail "$model at $ranks ranks: $(cat "$scratch/err")"
    cmp -s "$scratch/items.1" "$scratch/items.$ranks" || fail "$model: the items of $ranks ranks differ from those of one"
  done
  python3 - "$model" "$scratch/items.1" "$scratch/out" "$fixture/expected.json" <<'PYTHON' || fail "$model: values"
import json, math, sys
model, items, result, expected = sys.argv[1], *map(lambda p: open(p).read(), sys.argv[2:])
items, result, expected = [json.loads(l) for l in items.splitlines()], json.loads(result), json.loads(expected)[model]
worst, scores = 0, []
for task, answers in expected.items():
    mine = [i for i in items if i["task"] == task]
    assert [i["item"] for i in mine] == list(range(len(answers))), task
    right = {"acc": 0, "acc_norm": 0}
    for item, want in zip(mine, answers):
        assert item["tokens"] == [n for _, n in want], (task, item)
        worst = max([worst] + [abs(x - y) for x, (y, _) in zip(item["log_likelihood"], want)])
        plain = max(want)[0]
        right["acc"] += want[item["gold"]][0] == plain
        norm = [x / n for (x, _), n in zip(want, item["characters"])]
        right["acc_norm"] += norm[item["gold"]] == max(norm)
    got, n = result["tasks"][task], len(answers)
    main = "acc" if task in ("boolq", "winogrande") else "acc_norm"
    for key in {"acc", main}:
        share = right[key] / n
        assert abs(got[key] - share) < 1e-9 and abs(got[key + "_stderr"] - math.sqrt(share * (1 - share) / (n - 1))) < 1e-9, task
    assert ("acc_norm" in got) == (main == "acc_norm") and got["items"] == n and got["score"] == got[main], task
    scores.append(got["score"])
assert abs(result["average"] - sum(scores) / 6) < 1e-9
print(model, "deviates by", worst)
sys.exit(worst > 2e-4)
PYTHON
done

# A character counts once whatever its bytes, and gold is what the files say.
grep -q '"task": "piqa", "item": 3, "gold": 0.*"characters": \[39, 5\]' "$scratch/items.1" || fail "characters: $(sed -n 4p "$scratch/items.1")"
grep -q '"task": "arc_easy", "item": 2, "gold": 1' "$scratch/items.1" || fail "arc_easy in the data set's own form"
grep -q '"task": "winogrande", "item": 0, "gold": 1' "$scratch/items.1" || fail "winogrande counts answers from 1"

# A compressed model runs with the activation and KV bits it records, the same at any number of ranks.
model=$scratch/llama-gqa
on 1 compress "$PONS_SOURCE/configs/quickstart-wanda-rtn.yaml" --model "$model" --calib "$fixture/hellaswag.jsonl" --out "$scratch/packed" \
  --set calibration.windows=2 --set calibration.length=64 --set evaluate.text= || fail "compress: $(cat "$scratch/err")"
for ranks in 1 3; do
  on $ranks eval tasks --model "$scratch/packed" "${tasks[@]}" --compute fp32 --items "$scratch/packed.$ranks" || fail "packed: $(cat "$scratch/err")"
done
grep -q '^tasks.piqa.acc_norm ' "$scratch/out" && grep -q '^average ' "$scratch/out" || fail "no table: $(cat "$scratch/out")"
on 1 eval tasks --model "$scratch/packed" "${tasks[@]}" --compute fp32 --weights-only --items "$scratch/packed.w" || fail "packed, weights only"
cmp -s "$scratch/packed.1" "$scratch/packed.3" || fail "packed model: three ranks differ from one"
cmp -s "$scratch/packed.1" "$scratch/packed.w" && fail "packed model: --weights-only changes nothing"

# One token and what follows it: the log-likelihood is what the perplexity of the same tokens says, with everything quantized.
printf '{"sentence": "A_ dog ran over the hill and came back before the rain.", "option1": "", "option2": "n old", "answer": "1"}\n' >"$scratch/one.jsonl"
printf 'A dog ran over the hill and came back before the rain.' >"$scratch/one.txt"
on 1 eval tasks --model "$scratch/packed" --task winogrande="$scratch/one.jsonl" --compute fp32 --items "$scratch/one" || fail "one: $(cat "$scratch/err")"
length=$(($(sed 's/.*"tokens": \[\([0-9]*\).*/\1/' "$scratch/one") + 1))
on 1 eval ppl --model "$scratch/packed" --text "$scratch/one.txt" --length $length --compute fp32 --json || fail "one: $(cat "$scratch/err")"
python3 -c 'import json, math, sys
item, ppl, n = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))["perplexity"], int(sys.argv[3]) - 1
print("perplexity", ppl, "of", n, "tokens; from the log-likelihood", math.exp(-item["log_likelihood"][0] / n))
sys.exit(abs(math.exp(-item["log_likelihood"][0] / n) / ppl - 1) > 1e-6)' "$scratch/one" "$scratch/out" $length || fail "a log-likelihood that is not the perplexity"

# The window that is full in the middle of a file.
for n in $(seq 40); do cat "$fixture/hellaswag.jsonl"; done >"$scratch/long.jsonl"
for ranks in 1 3; do
  OMP_NUM_THREADS=1 on $ranks eval tasks --model "$model" --task hellaswag="$scratch/long.jsonl" --compute fp32 --items "$scratch/long.$ranks" || fail "long: $(cat "$scratch/err")"
done
cmp -s "$scratch/long.1" "$scratch/long.3" || fail "many windows: three ranks differ from one"
python3 - "$scratch/long.1" "$fixture/expected.json" <<'PYTHON' || fail "many windows: values"
import json, sys
items, want = [json.loads(l) for l in open(sys.argv[1])], json.load(open(sys.argv[2]))["llama-gqa"]["hellaswag"]
assert len(items) == 120
sys.exit(any(abs(x - y[0]) > 2e-4 for n, i in enumerate(items) for x, y in zip(i["log_likelihood"], want[n % 3])))
PYTHON
on 1 eval tasks --model "$model" --task hellaswag="$scratch/long.jsonl" --limit 4 --json && grep -q '"items": 4' "$scratch/out" || fail "--limit"

refuses 2 '\-\-task: found .mmlu=x' eval tasks --model "$model" --task mmlu=x
refuses 2 'piqa is given twice' eval tasks --model "$model" --task piqa=x --task piqa=y
refuses 2 '\-\-task is missing' eval tasks --model "$model"
refuses 6 'missing.jsonl' eval tasks --model "$model" --task piqa="$scratch/missing.jsonl"
printf '\n{"goal": "a", "sol1": "b", "sol2": "c", "label": 2}\n' >"$scratch/bad.jsonl"
refuses 4 'bad.jsonl:2: label: found 2, allowed: 0 to 1' eval tasks --model "$model" --task piqa="$scratch/bad.jsonl"
# A line that no task takes, and what is said of it.
bad() {
  printf "$2" >"$scratch/bad.jsonl"
  on 1 eval tasks --model "$model" --task "$1=$scratch/bad.jsonl" && fail "taken: $2"
  grep -qE -e "$3" "$scratch/err" || fail "no '$3' in: $(cat "$scratch/err")"
}
bad winogrande '{"sentence": "no gap", "option1": "b", "option2": "c", "answer": "1"}' 'bad.jsonl:1: sentence: found "no gap"'
bad arc_easy '{"question": "a", "choices": {"text": ["b", "c"], "label": ["A", "B"]}, "answerKey": "C"}' 'bad.jsonl:1: answerKey: found "C"'
bad piqa '{"goal": "a"' 'bad.jsonl:1: not valid JSON'
bad piqa '\n \n' 'found no questions'
bad hellaswag '{"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": ["d", 1], "label": "0"}' 'bad.jsonl:1: endings: '
finish
