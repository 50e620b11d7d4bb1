#!/usr/bin/env bash
# The real model: what transformers says of its first two windows, what is in the file, what its tokenizer does.
. "$PONS_SOURCE/tests/support/program.sh"
[ -f "${PONS_SMOLLM2:-}" ] || { echo "skipped: PONS_SMOLLM2 does not name the model (jobs/fetch-smollm2.sh)"; exit 77; }
text=$PONS_SOURCE/tests/data/wikitext2-test.txt

on 2 --quiet eval ppl --model "$PONS_SMOLLM2" --text "$text" --windows 2 --json || fail "eval: $(cat "$scratch/err")"
python3 - "$scratch/out" <<'PYTHON' || fail "perplexity of two windows"
import json, sys
result = json.load(open(sys.argv[1]))
print(result)
# 19.01856 in fp32; bf16 products are good for three digits
sys.exit(not (abs(result["perplexity"] / 19.01856 - 1) < 2e-3 and result["tokens"] == 4096))
PYTHON

on 1 inspect "$PONS_SMOLLM2" --json || fail "inspect: $(cat "$scratch/err")"
python3 - "$scratch/out" <<'PYTHON' || fail "inspect"
import json, sys
result = json.load(open(sys.argv[1]))
totals = result["totals"]
# 30 blocks of 3 * 576 * 1536 + 2 * 576 * 576 + 2 * 192 * 576; Q4_1 stores 20 bytes for 32 weights
sys.exit(not (len(result["linears"]) == 210 and totals["weights"] == 30 * 3538944 and totals["bits"] == 5.0
             and all(entry["bits"] == 4 for entry in result["linears"])))
PYTHON

on 1 tokenize --model "$PONS_SMOLLM2" --text "$text" --json || fail "tokenize: $(cat "$scratch/err")"
python3 - "$scratch/out" "$PONS_FIXTURES/tokenizers/expected_files.json" <<'PYTHON' || fail "tokenize"
import json, sys
got = json.load(open(sys.argv[1]))
expected = json.load(open(sys.argv[2]))["test"]["SmolLM2 (from the GGUF)"]
sys.exit(not (got["count"] == expected["count"] and got["sha256"] == expected["sha256"]))
PYTHON
finish
