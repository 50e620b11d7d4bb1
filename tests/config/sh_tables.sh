#!/usr/bin/env bash
# configs/paper: made from its tables as it stands; every row of a compressed model has a recipe, every other one a reason; OBR's recipes
# are what the published command lines come to; jobs/paper.sbatch lists them.
. "$PONS_SOURCE/tests/support/program.sh"
paper=$PONS_SOURCE/configs/paper

python3 "$paper/make.py" "$scratch/made" || fail "make.py"
diff -r "$scratch/made" "$paper" | grep -vE '^Only in [^:]*/configs/paper: (README.md|families.csv|make.py|tables.csv)$' && fail "not what make.py writes"

python3 - "$paper" <<'PYTHON' || fail "rows"
import csv, pathlib, re, sys
paper = pathlib.Path(sys.argv[1])
labels = [re.search('^label: "(.*)"$', path.read_text(), re.M).group(1) for path in paper.glob("*/*/*.yaml")]
reasons = {(f["table"], f["method"]): f["reason"] for f in csv.DictReader(open(paper / "families.csv"))}
rows = {" ".join(r[k] for k in ("table", "model", "method", "bits")): (r["table"], r["method"])
        for r in csv.DictReader(open(paper / "tables.csv"))}
assert len(labels) == len(set(labels)), "two recipes of one row"
assert sorted(labels) == sorted(label for label, key in rows.items() if not reasons[key]), "rows without recipes or recipes without rows"
print(len(rows), "rows of models and methods,", len(labels), "recipes")
sys.exit(len(rows) < 100)
PYTHON

# as_published RECIPE WORDS: the recipe of a command line, but for its label, its text and the file of its frame.
as_published() {
  on 1 compress --reference-args "$2" || fail "$1: $(cat "$scratch/err")"
  grep -vE '^#|label:|text:|file:' "$scratch/out" >"$scratch/theirs"
  on 1 compress "$paper/$1" --check || fail "$1: $(cat "$scratch/err")"
  grep -vE 'label:|text:|file:' "$scratch/out" | diff "$scratch/theirs" - || fail "$1 is not $2"
}
as_published Table1_QuaRot/Llama2-7B/obr-gptq-4-4-4.yaml \
  'quarot --model meta-llama/Llama-2-7b-hf --rotate --w_bits 4 --a_bits 4 --k_bits 4 --v_bits 4 --w_clip'
as_published Table1_QuaRot/Llama3-70B/obr-rtn-4-4-16.yaml \
  'quarot --model meta-llama/Meta-Llama-3-70B --rotate --w_bits 4 --a_bits 4 --k_bits 16 --v_bits 16 --w_clip --obr_rtn'
as_published Table3_SpinQuant/Llama2-13B/obr-gptq-4-4-4.yaml 'spinquant --input_model m --bf16 True --model_max_length 2048 --w_bits 4
  --a_bits 4 --k_bits 4 --v_bits 4 --w_clip --a_asym --k_asym --v_asym --k_groupsize 128 --v_groupsize 128 --rotate --optimized_rotation_path R.bin'
as_published Table11_FlatQuant/Qwen2.5-7B/obr-gptq-4-4-4.yaml 'flatquant --model Qwen/Qwen2.5-7B-Instruct --w_bits 4 --a_bits 4
  --k_bits 4 --v_bits 4 --k_asym --v_asym --k_groupsize 128 --v_groupsize 128 --lwc --lac --cali_trans --add_diag --reload_matrix --matrix_path m'

# The job script: what it would run, and what it refuses.
list() { bash "$PONS_SOURCE/jobs/paper.sbatch" --list "$@" 2>"$scratch/err"; }
[ "$(list | wc -l)" = "$(find "$paper" -name '*.yaml' | wc -l)" ] || fail "paper.sbatch --list: $(list | wc -l)"
[ "$(list Table3_SpinQuant | wc -l)" = 25 ] || fail "paper.sbatch --list TABLE: $(list Table3_SpinQuant)"
[ "$(list Table1_QuaRot Llama2-7B Llama3-8B | wc -l)" = 10 ] || fail "paper.sbatch --list TABLE MODEL: $(list Table1_QuaRot Llama2-7B Llama3-8B)"
list Table1_QuaRot GPT && fail "paper.sbatch lists an unknown model"
bash "$PONS_SOURCE/jobs/paper.sbatch" Table2 2>"$scratch/err" && fail "paper.sbatch takes an unknown table"
PONS_SHARE=1 bash "$PONS_SOURCE/jobs/paper.sbatch" Table11_FlatQuant Llama2-7B 2>"$scratch/share" && fail "PONS_SHARE with FlatQuant"
grep -q 'no Hessians in common' "$scratch/share" || fail "PONS_SHARE with FlatQuant: $(cat "$scratch/share")"
grep -q 'Table11_FlatQuant' "$scratch/err" || fail "paper.sbatch does not name the tables: $(cat "$scratch/err")"

# A table run to its report, on a small model in place of a large one and with less calibration.
work=$scratch/paper
mkdir -p "$work/models" "$work/wikitext2" "$work/tasks"
cp -r "$PONS_FIXTURES/models/mistral-headdim" "$work/models/Llama2-7B" && cp "$PONS_FIXTURES/tasks/tokenizer.json" "$work/models/Llama2-7B"
head -n 200 "$PONS_SOURCE/tests/data/wikitext2-valid.txt" | tee "$work/wikitext2/wiki.train.raw" >"$work/wikitext2/wiki.test.raw"
cp "$PONS_FIXTURES/tasks/winogrande.jsonl" "$work/tasks"
table() {
  PONS_PAPER=$work PONS_LOCAL=1 PONS_RANKS=1 PONS_OPTIONS="--set calibration.windows=2 --set calibration.length=64 \
    --set evaluate.windows=1 --set evaluate.length=64" bash "$PONS_SOURCE/jobs/paper.sbatch" Table1_QuaRot Llama2-7B 2>"$scratch/err"
}
table || fail "paper.sbatch: $(cat "$scratch/err")"
[ "$(grep -c '^| Table1_QuaRot Llama2-7B .* 8.40 ' "$work/runs/Table1_QuaRot.md")" = 1 ] || fail "no row with the printed 8.40: $(cat "$work/runs/Table1_QuaRot.md")"
grep -q '<br>61.48 (' "$work/runs/Table1_QuaRot.md" || fail "no WinoGrande beside the printed 61.48"
before=$(find "$work/runs" -name pons.json | wc -l)
touch "$scratch/again"
table || fail "paper.sbatch again: $(cat "$scratch/err")"
[ "$before" = 5 ] && [ -z "$(find "$work/runs" -name pons.json -newer "$scratch/again")" ] || fail "rows that are there are made again ($before)"
finish
