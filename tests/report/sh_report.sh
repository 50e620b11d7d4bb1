#!/usr/bin/env bash
# pons report: numbers on the page against pons.json, codes against an independent reading of the packed words, the paper's numbers
# against the table, a run that was not finished, the same page at any number of ranks, what is refused.
# ctest: timeout=600
. "$PONS_SOURCE/tests/support/program.sh"
model=$scratch/model
cp -r "$PONS_FIXTURES/models/mistral-headdim" "$model" && cp "$PONS_FIXTURES/tasks/tokenizer.json" "$model"

# compress NAME RECIPE: into $scratch/NAME, at a size that takes a second.
compress() {
  on 2 compress "$PONS_SOURCE/configs/$2" --model "$model" --calib "$PONS_SOURCE/tests/data/wikitext2-valid.txt" --out "$scratch/$1" \
    --set calibration.windows=4 --set calibration.length=64 --set evaluate.text="$PONS_SOURCE/tests/data/wikitext2-test.txt" \
    --set evaluate.windows=2 --set evaluate.length=64 --set obr.solver=dual || fail "$1: $(cat "$scratch/err")"
}
compress paper paper/Table1_QuaRot/Llama2-7B/obr-gptq-4-4-4.yaml
compress 'a <b> & "c"' quickstart-wanda-rtn.yaml
on 1 eval tasks --model "$scratch/paper" --task piqa="$PONS_FIXTURES/tasks/piqa.jsonl" --task boolq="$PONS_FIXTURES/tasks/boolq.jsonl" --json &&
  cp "$scratch/out" "$scratch/paper.run/tasks.json" || fail "tasks: $(cat "$scratch/err")"

for ranks in 1 3; do
  on $ranks report "$scratch/paper.run/" "$scratch/a <b> & \"c\".run" --out "$scratch/page.$ranks" --markdown "$scratch/text.$ranks" ||
    fail "report at $ranks ranks: $(cat "$scratch/err")"
done
cmp -s "$scratch/page.1" "$scratch/page.3" && cmp -s "$scratch/text.1" "$scratch/text.3" || fail "three ranks write another report"

PYTHONPATH=$PONS_SOURCE/tests/support python3 - "$scratch" "$PONS_SOURCE/configs/paper/tables.csv" <<'PYTHON' || fail "contents"
import csv, glob, html.parser, json, re, sys, xml.etree.ElementTree as tree
import safetensors
scratch, tables = sys.argv[1:]
page, text = (open(f"{scratch}/{name}.1", encoding="utf-8").read() for name in ("page", "text"))

# Every element that is opened is closed, every chart is well-formed, nothing is fetched.
class Balance(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []
    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br"):
            self.open.append(tag)
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag
balance = Balance()
balance.feed(page)
assert not balance.open and "http" not in page and "<b>" not in page and 'a &lt;b&gt; &amp; &quot;c&quot;' in page
charts = [tree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.S)]
assert len(charts) == 1 + 7 + 6, len(charts)  # all runs; each run's, without iterations where nothing was solved

manifest = json.load(open(f"{scratch}/paper/pons.json"))
printed = {r["metric"]: r["value"] for r in csv.DictReader(open(tables))
           if (r["table"], r["model"], r["method"]) == ("Table1_QuaRot", "Llama2-7B", "OBR_GPTQ")}
cells = [[c.strip() for c in line.strip("|\n").split("|")] for line in text.splitlines() if line.startswith("| Table1_QuaRot")]
results, tasks, cost = cells
ppl = manifest["perplexity"]["full"]
assert results[1:4] == ["obr_gptq", "4-4-4", f"{manifest['totals']['sparsity']:.4f}"], results
assert results[8:] == [f"{ppl:.2f}", printed["Wiki2_PPL"], f"{ppl - float(printed['Wiki2_PPL']):+.2f}"], results
scores = json.load(open(f"{scratch}/paper.run/tasks.json"))["tasks"]
for column, task, metric in (1, "piqa", "PIQA"), (2, "boolq", "BoolQ"):
    mine, theirs = 100 * scores[task]["score"], float(printed[metric])
    assert tasks[column] == f"{mine:.2f}<br>{theirs:.2f} ({mine - theirs:+.2f})", tasks
assert tasks[3] == "-<br>" + printed["HellaSwag"], tasks
report = json.load(open(f"{scratch}/paper.run/report.json"))
header = next([c.strip() for c in l.strip("|\n").split("|")] for l in text.splitlines() if l.startswith("| run | ranks"))
assert cost[:2] == [results[0], "2"] and cost[2] == f"{report['seconds']['total']:.1f}<br>{report['peak_rss_bytes'] / 1e6:.0f} MB", cost
for phase, cell in zip(header[3:], cost[3:]):
    memory = report["memory"].get(phase)
    assert cell == f"{report['seconds'][phase]:.1f}" + (f"<br>{memory / 1e6:.0f} MB" if memory else ""), (phase, cell)
assert {"read", "forward", "hessian", "solve", "evaluate"} < set(header) and "learn" not in header, header
assert max(report["memory"].values()) <= report["peak_rss_bytes"] and min(report["memory"].values()) > 1e6, report["memory"]

# A label below a bar is beside no other: those of one row are wide apart.
for chart in charts:
    rows = {}
    for t in chart.iter("text"):
        if "bar" in t.get("class", "") and t.text:
            rows.setdefault(t.get("y"), []).append((float(t.get("x")), 7 * len(t.text)))
    for row in rows.values():
        assert all(b[0] - a[0] >= (a[1] + b[1]) / 2 for a, b in zip(row, row[1:])), row

# Errors per linear, a row per block.
for linear in manifest["linears"]:
    _, _, block, _, name = linear["name"].split(".")
    names = next(l for l in text.splitlines() if l.startswith("| block"))
    column = [c.strip() for c in names.split("|")].index(name)
    row = next(l for l in text.splitlines() if l.startswith(f"| {block} |"))
    assert row.split("|")[column].strip() == f"{linear['relative_error']:.3g}", linear

# Codes: eight to a word, stored with 8 added.
counts, total = [0] * 16, 0
for path in glob.glob(f"{scratch}/paper/*.safetensors"):
    tensors = safetensors.load(path)
    for name, tensor in tensors.items():
        if not name.endswith("weight_packed"):
            continue
        rows, cols = safetensors.numbers(tensors[name.replace("packed", "shape")])
        words, width = safetensors.numbers(tensor), (cols + 7) // 8
        for r in range(rows):
            for c in range(cols):
                counts[words[r * width + c // 8] >> (4 * (c % 8)) & 15] += 1
        total += rows * cols
shown = re.search(r"\| code \| share \|\n\|---:\|---:\|\n((?:\|.*\n)+)", text).group(1)
assert [l.split("|")[2].strip() for l in shown.splitlines()] == [f"{n / total:.4f}" for n in counts], shown
PYTHON

# A run on its way: blocks as far as the journal goes, no output.
cp -r "$scratch/paper.run" "$scratch/half"
sed -i '/"event":"finished"/d' "$scratch/half/journal.jsonl" && rm "$scratch/half/report.json" "$scratch/half/tasks.json"
printf '{"event":"block","bl' >>"$scratch/half/journal.jsonl" # cut short
on 1 report "$scratch/half" --out "$scratch/half.html" || fail "unfinished: $(cat "$scratch/err")"
grep -q 'not finished' "$scratch/half.html" && [ "$(grep -c '<svg' "$scratch/half.html")" = 3 ] || fail "unfinished: $(grep -c '<svg' "$scratch/half.html") charts"

refuses 2 'RUN is missing' report --out "$scratch/x.html"
refuses 2 '\-\-out or --markdown is missing' report "$scratch/paper.run"
refuses 4 'found no recipe.yaml' report "$scratch/paper" --out "$scratch/x.html"
echo '{' >"$scratch/half/report.json"
refuses 4 'half/report.json: line' report "$scratch/half" --out "$scratch/x.html"
[ -e "$scratch/x.html" ] && fail "a refused report is written"
finish
