#!/usr/bin/env python3
"""The table of jobs/bench-goals.sh from the JSON files in a directory."""
import json
import os
import sys


def load(name):
    path = os.path.join(sys.argv[1], name + ".json")
    return json.load(open(path)) if os.path.exists(path) else None


def best(name):
    """Of the rounds of a measurement: least seconds and largest rates, of the baseline, too."""
    rounds = [r for r in (load(f"{name}-{k}") for k in range(9)) if r]
    if not rounds:
        return None
    if "results" in rounds[0]: # of gemm: the streamed tiles
        rounds = [next(r for r in run["results"] if r["method"] == "streamed tiles") for run in rounds]
    r = dict(min(rounds, key=lambda r: r["seconds"]))
    if "peak_gflops" in r:
        r["peak_gflops"] = max(x["peak_gflops"] for x in rounds)
        r["share_of_peak"] = r["gflops"] / r["peak_gflops"]
    if r.get("speedup_vs_potrf"):
        plain, factor = (min(pick(x) for x in rounds) for pick in (lambda x: x["baseline"]["seconds_all_rows"], lambda x: x["factor_seconds"]))
        r["speedup_vs_potrf"] = plain / r["seconds"]
        r["speedup_with_factor"] = plain / (r["seconds"] + factor)
    if "attention_seconds" in r:
        r["attention_seconds"] = min(x["attention_seconds"] for x in rounds)
        r["attention_gflops"] = max(x["attention_gflops"] for x in rounds)
    return r


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def solver(what, r, goal):
    row(what, goal, f"{r['speedup_vs_potrf']:.1f}x ({r['speedup_with_factor']:.1f}x with the shared factor), {r['seconds']:.2f} s; error / exact "
        f"{r['error_ratio']:.5f} (pruning stage {r['stage1_error_ratio']:.6f}), iterations {r['stage1_iterations']:.1f} + "
        f"{r['stage2_iterations']:.1f}, direct {r['fallbacks']}; {100 * r['share_of_peak']:.0f} % of peak: {100 * r['product_share']:.0f} % of the "
        f"time in products at {100 * r['product_gflops'] / r['peak_gflops']:.0f} % of peak, {100 * r['prepare_share']:.0f} % for what rows share, the "
        "rest in passes over vectors")


def main():
    bf16, fp32, torch, down = best("solver-bf16"), best("solver-fp32"), best("torch"), best("down")
    machine = bf16["machine"]
    print(f"{machine['processor']}; Pons {machine['pons']}; {machine['kernels']}; load {os.getloadavg()[0]:.1f}\n")
    row("what", "goal", "measured")
    row("---", "---", "---")
    solver("4096 x 4096, 50 %, both stages against one spotrf per row, one thread, bf16", bf16, "50x, 1.001")
    solver("the same in fp32", fp32, "25x, 1.001")
    if torch:
        row("against torch, one Cholesky per stage and row, one thread", "60x", f"{torch['seconds'] / bf16['seconds']:.1f}x ({torch['seconds']:.0f} s)")
    solver("down_proj of block 0 of SmolLM2, 576 x 1536, one thread", down, "15x")
    for what in ("hessian", "gptq"):
        for d in (576, 1536, 4096):
            r = best(f"{what}-{d}")
            row(f"{what}, width {d}, one thread", "80 % of peak" if what == "hessian" else "", f"{100 * r['share_of_peak']:.0f} % of peak, {r['gflops']:.0f} GF/s")
    r = best("forward")
    row("forward pass of block 0, one thread", "60 % of peak", f"{100 * r['share_of_peak']:.0f} % of peak, {r['gflops']:.0f} GF/s")
    row("its attention alone, whose exponentials are no matrix product", "", f"{100 * r['attention_seconds'] / r['seconds']:.0f} % of its time, "
        f"{r['attention_gflops']:.0f} GF/s; the rest of it, with norms and gates, {(r['gflops'] * r['seconds'] - r['attention_gflops'] * r['attention_seconds']) / (r['seconds'] - r['attention_seconds']) / r['peak_gflops'] * 100:.0f} % of peak")
    r = best("gemm")
    row("bf16 tiles with one side from beyond the caches of a core, as in a Hessian: what the memory leaves of the peak", "",
        f"{100 * r['share_of_peak']:.0f} % of the same tiles in cache, {r['gflops']:.0f} of {r['peak_gflops']:.0f} GF/s")
    one, two = (min((load(f"{name}-{k}")["seconds"] for k in range(2)), key=lambda s: s["total"]) for name in ("one", "two"))
    row("whole job, SmolLM2, 32 x 2048, one core", "125 s (reference routines in torch: 1250 s)", f"{one['total']:.1f} s, {1250 / one['total']:.1f}x")
    row("the same on two cores", "1.8x of one", f"{two['total']:.1f} s, {one['total'] / two['total']:.2f}x")
    pair = min(([load(f"pair-{k}-{job}")["seconds"]["total"] for job in "ab"] for k in range(2)), key=max)
    ranks = [r["seconds"]["total"] for r in (load(f"ranks-{k}") for k in range(2)) if r]
    if ranks:
        row("the same on two ranks, a core each", "1.8x of one", f"{min(ranks):.1f} s, {one['total'] / min(ranks):.2f}x")
    row("two separate jobs of one core at once: what the machine gives two cores", "",
        f"{pair[0]:.1f} and {pair[1]:.1f} s, {2 * one['total'] / max(pair):.2f}x")
    shares = sorted(((k, v) for k, v in one.items() if k != "total" and v > 0), key=lambda e: -e[1])
    row("phases on one core", "", ", ".join(f"{k} {100 * v / one['total']:.0f} %" for k, v in shares))
    for over in ("dim", "rows"):
        s = load(f"sweep-{over}")
        row(f"cost over {over} = {', '.join(str(p[over]) for p in s['results'])}", "solver <= 2.1 in dim per row" if over == "dim" else "",
            ", ".join(f"{k} ~ {over}^{v:.2f}" for k, v in s["exponents"].items() if k != "over" and v))
    a = load("layers")
    row(f"{len(a['linears'])} linears of SmolLM2, {a['rows']} rows, against the direct solver", "mean 1.001, worst row 1.01",
        f"pruning stage: mean {a['stage1_error_ratio']['mean']:.6f}, worst {a['stage1_error_ratio']['worst']:.5f}; both: mean "
        f"{a['error_ratio']['mean']:.6f}, worst {a['error_ratio']['worst']:.4f}")
    r = a["rounded_error_ratio"]
    row("the direct solver itself, given the weights rounded to bf16: what roundings alone do to finished rows", "",
        f"both: mean {r['mean']:.6f}, worst {r['worst']:.4f}")
    row("rows by iterations", "", ", ".join(f"{n}: {count}" for n, count in enumerate(a["rows_by_iterations"]) if count))
    hardest = sorted(a["linears"], key=lambda e: -e["iterations_mean"])[:5]
    row("hardest linears", "", ", ".join(f"{e['name']} {e['iterations_mean']:.1f}" for e in hardest))
    pairs = [(load(f"seed-auto-{k}"), load(f"seed-direct-{k}")) for k in range(99) if load(f"seed-direct-{k}")]
    for what, key in (("W4A16", "weights_only"), ("W4A4KV4", "full")) if pairs else ():
        ours, direct = ([r[i]["perplexity"][key] for r in pairs] for i in (0, 1))
        mean, wanted = (sum(x) / len(x) for x in (ours, direct))
        row(f"perplexity of obr_gptq, {what}, mean of {len(pairs)} seeds", "within 2 % of the direct solver", f"{mean:.2f} beside {wanted:.2f}, "
            f"{100 * (mean / wanted - 1):+.1f} %; single seeds {', '.join(f'{x:.1f}' for x in ours)} beside {', '.join(f'{x:.1f}' for x in direct)}")


if __name__ == "__main__":
    main()
