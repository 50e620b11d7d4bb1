#!/usr/bin/env python3
"""The Markdown table of jobs/bench.sh from the JSON files in a directory."""
import glob
import json
import math
import os
import platform
import sys


def number(value, form):
    return "" if value is None else format(value, form)


def exponent(points):
    """Least-squares slope of log y over log x."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)


def load(path):
    with open(path) as file:
        return json.load(file)


def row(cells):
    print("| " + " | ".join(cells) + " |")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("Usage: bench_table.py DIRECTORY")
    runs = sorted((int(os.path.basename(p).split(".")[0]), p) for p in glob.glob(os.path.join(sys.argv[1], "*.pons.json")))
    if not runs:
        sys.exit(f"bench_table.py: no *.pons.json in {sys.argv[1]}")
    first = load(runs[0][1])
    machine, layer = first["machine"], first["layer"]
    torch_runs = {n: load(p.replace(".pons.", ".torch.")) for n, p in runs if os.path.exists(p.replace(".pons.", ".torch."))}
    print(f"{machine['processor']}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {platform.system()} {platform.release()}; "
          f"Pons {machine['pons']}; {machine['kernels'].rsplit(', ', 1)[0]}"
          + "".join(f"; torch {t['torch']}" for t in list(torch_runs.values())[:1])
          + f"; best of {machine['repeat']}, {machine['clock']}.\n")
    print(f"Layer: {layer['hessian']}; {layer['pattern']}, sparsity {layer['sparsity']:g}, alpha {layer['alpha']:g}, "
          f"damping {layer['damping']:g}.\n")
    row(["what", "type", "rows x dim", "threads", "seconds", "GF/s", "of GEMM peak", "MiB", "error ratio", "baseline",
         "baseline seconds", "times as long"])
    row(["---"] * 12)
    for threads, path in runs:
        for r in load(path)["results"]:
            cells = [f"{r['what']} {r['method']}", r["precision"], f"{r['rows']} x {r['dim']}", str(threads),
                     f"{r['seconds']:.4f}", f"{r['gflops']:.1f}", f"{100 * r['share_of_peak']:.1f} %",
                     "" if r["workspace_bytes"] is None else f"{r['workspace_bytes'] / 2**20:.1f}", number(r["error_ratio"], ".5f")]
            bases = [r["baseline"]] if r["baseline"] else [None]
            one = r.get("baseline_one_thread")
            if one and one["threads"] != r["baseline"]["threads"]:
                bases.append(one)
            if r["what"] == "solver" and threads in torch_runs:
                t = torch_runs[threads]
                bases.append({"what": "torch, " + t["method"], "measured_rows": t["measured_rows"], "threads": t["threads"],
                              "seconds_all_rows": t["seconds"], "speedup": t["seconds"] / r["seconds"]})
            for base in bases:
                if base is None:
                    row(cells + ["", "", ""])
                    continue
                whole = base["measured_rows"] >= r["rows"]
                text = f"{base['what']}, {base['threads']} thr." + ("" if whole else f", from {base['measured_rows']} rows")
                row(cells + [text, f"{base['seconds_all_rows']:.4f}", f"{base['speedup']:.2f}"])
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "sweep-*.json"))):
        s = load(path)
        over, points = s["exponents"].pop("over"), s["results"]
        other = f"{points[0]['rows']} rows" if over == "dim" else f"dim {points[0]['dim']}"
        print(f"\nOver {over} = {', '.join(str(r[over]) for r in points)} at {other}: "
              + ", ".join(f"{name} ~ {over}^{value:.2f}" for name, value in s["exponents"].items()) + ".")
    ranks = sorted((load(p) for p in glob.glob(os.path.join(sys.argv[1], "ranks-*.json"))), key=lambda r: r["ranks"])
    if ranks:
        print(f"\nRanks of one thread, {ranks[0]['rows']} x {ranks[0]['dim']}: "
              + ", ".join(f"{r['ranks']}: {r['seconds']:.4f} s" for r in ranks)
              + (f"; seconds ~ ranks^{exponent([(r['ranks'], r['seconds']) for r in ranks]):.2f}" if len(ranks) > 1 else "") + ".")


if __name__ == "__main__":
    main()
