"""Print the table of quickstart.sh: table.py DENSE_EVAL.json DENSE_INSPECT.json REPORT.json...

The first two are `pons eval ppl --json` and `pons inspect --json` of the dense model, the others `pons compress --json`.
"""
import json
import sys

NAMES = {"rtn": "RTN", "gptq": "GPTQ", "wanda_rtn": "Wanda+RTN", "sparsegpt_gptq": "SparseGPT+GPTQ", "obr_rtn": "OBR_RTN",
         "obr_gptq": "OBR_GPTQ"}
HEADER = ("method", "sparsity", "bits", "MB", "ppl W4A16", "ppl W4A4KV4", "seconds")
NOTE = """
sparsity: share of exact zeros in the linears; bits: stored per weight of the linears, scales included; MB: all tensors,
the compressed models' embedding and head in bf16 (the dense row is the GGUF file as it came); W4A16: activations not
quantized (dense: nothing quantized further); W4A4KV4: activations, keys and values at 4 bits; seconds: the whole run."""


def number(value, form):
    return "-" if value is None else format(value, form)


def perplexity(value):
    return number(value, ".3f" if value is None or value < 1000 else ".0f")


def dense_row(evaluation, inspection):
    totals = inspection["totals"]
    return ("dense", number(totals["sparsity"], ".4f"), number(totals["bits"], ".2f"),
            number(totals["bytes"] / 1e6, ".1f"), perplexity(evaluation["perplexity"]), "-",
            number(evaluation["seconds"], ".0f"))


def report_row(report):
    measured = report.get("perplexity") or {}
    return (NAMES.get(report["method"], report["method"]), number(report["sparsity"], ".4f"),
            number(report["bits"], ".2f"), number(report["bytes"] / 1e6, ".1f"),
            perplexity(measured.get("weights_only")), perplexity(measured.get("full")),
            number(report["seconds"]["total"], ".0f"))


def main(evaluation, inspection, *reports):
    def load(path):
        with open(path) as file:
            return json.load(file)
    rows = [HEADER, dense_row(load(evaluation), load(inspection))]
    rows += [report_row(load(path)) for path in reports]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))
    print(NOTE)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
