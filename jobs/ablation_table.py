"""The Markdown table of ablation.sh: ablation_table.py DENSE.json (NAME BASE REPORT.json)...

BASE is the name of the row that a row is compared with, or empty. A row's number is the perplexity of what its name says: with
weights alone compressed (w4a16) or with everything (w4a4kv4). REPORT.user, where it is, has the run's seconds of processor time.
"""
import json
import math
import sys


def load(path):
    with open(path) as file:
        return json.load(file)


def processor_seconds(path):
    try:
        with open(path.removesuffix(".json") + ".user") as file:
            return float(file.read().split()[-1])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def main(dense_path, *rows):
    dense = load(dense_path)["perplexity"]
    logs, times = {}, {}
    print(f"| run (dense model: {dense:.3f}) | perplexity | log over dense | of obr_gptq's | products | time of obr_gptq's |")
    print("|---|---|---|---|---|---|")
    for name, base, path in zip(rows[::3], rows[1::3], rows[2::3]):
        report = load(path)
        value = report["perplexity"]["full" if name.startswith("w4a4kv4") else "weights_only"]
        logs[name], times[name] = math.log(value / dense), processor_seconds(path)
        share = f"{100 * logs[name] / logs[base]:.0f} %" if base else "100 %"
        products = (report.get("solver") or {}).get("products")
        base_time = times[base or name]
        time = "" if times[name] is None or not base_time else f"{times[name] / base_time:.2f}"
        print(f"| {name} | {value:.2f} | {logs[name]:.3f} | {share} | {'' if products is None else format(products, '.0f')} "
              f"| {time} |")


if __name__ == "__main__":
    if len(sys.argv) < 5 or len(sys.argv) % 3 != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
