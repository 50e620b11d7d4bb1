#!/usr/bin/env bash
# pons tokenize against the ids of Hugging Face tokenizers: strings, whole files, id files.
. "$PONS_SOURCE/tests/support/program.sh"
tokenizers=$PONS_FIXTURES/tokenizers

# Strings, with and without special tokens: a few that survive as one shell argument.
python3 - "$PONS_BIN" "$tokenizers" <<'PYTHON' || fail "strings"
import json, subprocess, sys
program, folder = sys.argv[1:]
wrong = 0
for name, cases in json.load(open(f"{folder}/expected.json")).items():
    if name not in ("llama3", "llama2"):
        continue
    for case in [c for c in cases if c["text"] and "\0" not in c["text"] and not c["text"].startswith("-")][:6]:
        for flags, key in (([], "ids_no_special"), (["--special"], "ids")):
            command = [program, "tokenize", "--tokenizer", f"{folder}/{name}.json", *flags, case["text"]]
            got = subprocess.run(command, capture_output=True, text=True)
            if got.returncode or [int(i) for i in got.stdout.split()] != case[key]:
                wrong += 1
                print(name, repr(case["text"]), flags, got.stdout, got.stderr, "expected", case[key])
sys.exit(wrong > 0)
PYTHON

# A whole file: count and digest, as JSON and through an id file.
expected() { python3 -c "import json,sys; print(json.load(open('$tokenizers/expected_files.json'))['test']['llama3']['$1'])"; }
text=$PONS_SOURCE/tests/data/wikitext2-test.txt
accepts tokenize --tokenizer "$tokenizers/llama3.json" --text "$text" --out "$scratch/test.ids" --json
grep -q "\"count\": $(expected count)" "$scratch/out" || fail "count: $(cat "$scratch/out")"
grep -q "$(expected sha256)" "$scratch/out" || fail "digest: $(cat "$scratch/out")"
accepts tokenize --tokenizer "$tokenizers/llama3.json" --text "$text" --out "$scratch/test.i32"
[ "$(sha256sum <"$scratch/test.i32")" = "$(expected sha256)  -" ] || fail "raw ids differ"
python3 - "$scratch/test.ids" "$scratch/test.i32" <<'PYTHON' || fail "text and raw ids differ"
import array, sys
raw = array.array("i", open(sys.argv[2], "rb").read())
sys.exit(raw.tolist() != [int(i) for i in open(sys.argv[1]).read().split()])
PYTHON

# Characters that the tables do not know, U+0378 to none yet: the ids follow the version that is named.
on 1 tokenize --tokenizer "$tokenizers/llama3.json" --json $'a \u0378' || fail "unassigned: $(cat "$scratch/err")"
grep -qE '"unicode": "[0-9.]+ \(PCRE2 [0-9.]+\), [0-9.]+ \(utf8proc [0-9.]+\)"' "$scratch/out" || fail "$(cat "$scratch/out")"
grep -q 'U+0378 at byte 2 is not in the character tables of this build, Unicode ' "$scratch/err" || fail "$(cat "$scratch/err")"
on 1 tokenize --tokenizer "$tokenizers/llama3.json" $'\u00e9 \u4e2d\u0645\U0001f600 a' || fail "assigned: $(cat "$scratch/err")"
grep -q 'character tables' "$scratch/err" && fail "a warning for characters that every table has: $(cat "$scratch/err")"

refuses 6 'missing.json' tokenize --tokenizer "$scratch/missing.json" x
refuses 6 'missing.txt' tokenize --tokenizer "$tokenizers/llama3.json" --text "$scratch/missing.txt"
printf 'abc\xff' >"$scratch/broken.txt"
refuses 4 'UTF-8' tokenize --tokenizer "$tokenizers/llama3.json" --text "$scratch/broken.txt"
refuses 6 'no-such-folder' tokenize --tokenizer "$tokenizers/llama3.json" --out "$scratch/no-such-folder/x.ids" abc
finish
