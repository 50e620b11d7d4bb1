#!/usr/bin/env python3
"""The table of jobs/bench-cluster.sh from the JSON files in a directory."""
import glob
import json
import os
import re
import sys


def load(name):
    path = os.path.join(sys.argv[1], name + ".json")
    return json.load(open(path)) if os.path.exists(path) else None


def load_all(pattern):
    return [json.load(open(p)) for p in sorted(glob.glob(os.path.join(sys.argv[1], pattern + ".json")))]


def total(result):
    return result["seconds"]["total"]


def row(*cells):
    print("| " + " | ".join(str(c) for c in cells) + " |")


def ranks():
    ones, twos, keep = load_all("ranks-1-*"), load_all("ranks-2-*"), load("keep")
    pairs = zip(load_all("pair-*-a"), load_all("pair-*-b"))
    one, two = min(ones, key=total), min(twos, key=total)
    a, b = one["seconds"], two["seconds"]
    row(f"whole SmolLM2 job, 1 -> 2 ranks of one thread, best of {len(ones)}", ">= 1.8x, same bytes", f"{a['total']:.1f} s -> {b['total']:.1f} s, {a['total'] / b['total']:.2f}x, "
        + ("same bytes" if len({r["digest"] for r in ones + twos}) == 1 else "DIFFERENT BYTES"))
    row("each of these runs", "", "; ".join(", ".join(f"{total(r):.1f}" for r in runs) + f" s on {n}" for n, runs in ((1, ones), (2, twos))))
    c, d = (r["seconds"] for r in min(pairs, key=lambda p: max(map(total, p))))
    row("two separate jobs of one rank at once: what the machine gives two cores", "", f"{c['total']:.1f} and {d['total']:.1f} s, "
        f"{2 * a['total'] / max(c['total'], d['total']):.2f}x")
    phases = [p for p in two["efficiency"] if a.get(p, 0) > 0.005 * a["total"] and b.get(p, 0) > 0]
    row("speed-up of each phase (its share on one rank), and what separate jobs would show", "", ", ".join(f"{p} {a[p] / b[p]:.2f}x ({100 * a[p] / a['total']:.0f} %), of separate jobs "
        f"{2 * a[p] / max(c[p], d[p]):.2f}x" for p in phases))
    row("balance of each phase on two ranks (mean / slowest)", "", ", ".join(f"{p} {two['efficiency'][p]:.2f}" for p in phases))
    row("what rank 0's writing held up", "", f"{b['pack']:.2f} s of {b['total']:.1f} s")
    k = keep["seconds"]
    row("Hessians to HDF5, collectively (hessians: keep)", "small", f"{k['keep']:.2f} s of {k['total']:.1f} s, {100 * k['keep'] / k['total']:.1f} %")


def wave():
    ones, fours = load_all("wave-1-*"), load_all("wave-4-*")
    for kind in "weights_only", "full":
        p, q = ([r["perplexity"][kind] for r in runs] for runs in (ones, fours))
        row(f"wave 4 against wave 1, four ranks, perplexity {kind}, mean of {len(p)} seeds", "<= 1 % apart",
            f"{sum(q) / len(q):.3f} against {sum(p) / len(p):.3f}, {100 * (sum(q) / sum(p) - 1):+.2f} %; "
            + ", ".join(f"{v:.2f} against {u:.2f}" for u, v in zip(p, q)))
    for name, r in ("wave 1", ones[0]), ("wave 4", fours[0]):
        row(f"idle share of each team, {name}, first of the seeds", "", ", ".join(f"{100 * s:.0f} %" for s in r["idle"]) + f"; {r['seconds']['total']:.0f} s")


def planned(plan, ranks):
    """Of one layer: the fullest phase without what a rank holds before it begins; of what the node shares, a rank's part."""
    before = "program and libraries", "message buffers"
    return max(sum(t["bytes"] / (ranks if t["per"] == "node" else 1) for t in p["terms"] if t["name"] not in before)
               for p in plan["phases"] if p["group"] == "down")


def memory():
    widths = sorted({int(re.findall(r"memory-(\d+)-1", f)[0]) for f in glob.glob(os.path.join(sys.argv[1], "memory-*-1.json"))})
    for d in widths:
        cells = []
        for n in 1, 2, 4:
            got, want = load(f"memory-{d}-{n}")["workspace_bytes"], planned(load(f"plan-{d}-{n}"), n)
            cells.append(f"{n}: {got / 1e6:.0f} MB (plan {want / 1e6:.0f}, {want / got:.2f})")
        row(f"peak bytes per rank, a layer of width {d}, by ranks", "falls as planned", ", ".join(cells))


def factor():
    alone, both = load("factor-1")["results"], load("factor-2")["results"]
    lapack = min(r["baseline"]["seconds_all_rows"] for r in alone)  # no other rank waits beside it
    for r in both:
        row(f"{r['method']} factor, n = {r['dim']}, two ranks, against LAPACK on two threads", ">= 0.8x",
            f"{r['seconds']:.2f} s, LAPACK {lapack:.2f} s: {lapack / r['seconds']:.2f}x; difference {r['relative_error']:.1g}")


def simulate():
    best = {}
    for s in load("simulate")["schedules"]:
        key = s["ranks"], s["teams"] == 1
        if s["fits"] and (key not in best or s["seconds"] < best[key]["seconds"]):
            best[key] = s
    for (n, _), s in sorted(best.items()):
        row(f"70B, {n} ranks of 8 threads, {s['teams']} teams of {s['ranks_per_team']} (simulated)", "time, idle, bytes, bound",
            f"{s['seconds'] / 60:.1f} min, idle {100 * s['idle']:.1f} %, {s['moved_bytes'] / 1e9:.1f} GB to each rank, "
            f"{s['node_bytes'] / 1e9:.1f} GB on a node, {s['bound']}")


def main():
    print(f"load {os.getloadavg()[0]:.1f} at the end\n")
    row("what", "goal", "measured")
    row("---", "---", "---")
    for name, part in ("ranks-1-*", ranks), ("wave-1-*", wave), ("memory-*", memory), ("factor-1", factor), ("simulate", simulate):
        if glob.glob(os.path.join(sys.argv[1], name + ".json")):
            part()


if __name__ == "__main__":
    main()
