"""The Markdown table of ablation.sh: ablation_table.py DENSE.json (NAME BASE REPORT.json)...

BASE is the name of the row that a row is compared with, or empty. A row's number is the perplexity of what its name says: with
weights alone compressed (w4a16) or with everything (w4a4kv4).
"""
import json
import math
import sys


def load(path):
    with open(path) as file:
        return json.load(file)


def main(dense_path, *rows):
    dense = load(dense_path)["perplexity"]
    logs = {}
    print(f"| run (dense model: {dense:.3f}) | perplexity | log over dense | of obr_gptq's | products | seconds |")
    print("|---|---|---|---|---|---|")
    for name, base, path in zip(rows[::3], rows[1::3], rows[2::3]):
        report = load(path)
        value = report["perplexity"]["full" if name.startswith("w4a4kv4") else "weights_only"]
        logs[name] = math.log(value / dense)
        share = f"{100 * logs[name] / logs[base]:.0f} %" if base else "100 %"
        products = (report.get("solver") or {}).get("products")
        print(f"| {name} | {value:.2f} | {logs[name]:.3f} | {share} | {'' if products is None else format(products, '.0f')} "
              f"| {report['seconds']['total']:.0f} |")


if __name__ == "__main__":
    if len(sys.argv) < 5 or len(sys.argv) % 3 != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
