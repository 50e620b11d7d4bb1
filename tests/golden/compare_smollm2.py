"""Print our perplexities beside the reference's and check them: compare_smollm2.py REFERENCE.csv RUNS.csv FOLDER_OF_REPORTS

REFERENCE.csv has one run of each method; equal runs of the pruned methods lie some percent apart, so a single one says
little. RUNS.csv has many runs of an independent implementation of the same protocol. The folder holds RECIPE.RUN.json of ours.

Compared are geometric means: of our runs of a recipe, and of the reference's run with those of RUNS.csv. Allowed are 5 % for
every row, 0.3 % for the dense model, which has no such noise, a factor of 2 for wanda_rtn, which destroys the model. Beside
that stand the ratio to the reference's own run, and where that run lies among the others, in their standard deviations.
"""
import collections
import json
import math
import os
import sys

HEADER = ("recipe", "runs", "A16", "mean", "ratio", "to the run", "which is at", "A4KV4", "mean", "ratio", "to the run",
          "which is at", "zeros", "reference", "seconds")


def largest_ratio(method):
    return {"dense": 1.003, "wanda_rtn": 2.0}.get(method, 1.05)


def mean_of(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def deviation(value, values):
    """Of the logarithm of value from the mean of those of values, in their standard deviations; - where there are too few."""
    if len(values) < 5:
        return "-"
    mean = math.log(mean_of(values))
    spread = math.sqrt(sum((math.log(v) - mean) ** 2 for v in values) / (len(values) - 1))
    return f"{(math.log(value) - mean) / spread:+.1f} s.d."


def compare(ours, one, others, most):
    """Cells of one perplexity over all runs, and whether their mean is within the tolerance.

    ours: perplexities, None where a run has none; one: the reference's, as written; others: the independent runs'.
    """
    if None in ours:
        return ("-", one or "-", "-", "-", "-"), True
    mean = mean_of(ours)
    if not one:
        return (f"{mean:.3f}", "-", "-", "-", "-"), True
    expected = mean_of([float(one)] + others)
    good = 1 / most <= mean / expected <= most
    return (f"{mean:.3f}", f"{expected:.3f}", f"{mean / expected:.3f}" + ("" if good else " !"),
            f"{mean / float(one):.3f}", deviation(float(one), others)), good


def read_reference(path):
    """method -> perplexity W4A16, W4A4KV4, sparsity, as written"""
    lines = [line.strip().split(",") for line in open(path) if not line.startswith("#")]
    return {cells[0]: cells[1:] for cells in lines if len(cells) == 4}


def read_runs(path):
    """method -> [perplexities W4A16], [W4A4KV4]; the dense model's, which are of quantized activations, left out"""
    runs = collections.defaultdict(lambda: ([], []))
    for line in open(path):
        cells = line.strip().split(",")
        if line.startswith(("#", "method,", "dense,")) or len(cells) != 5:
            continue
        runs[cells[0]][0].append(float(cells[2]))
        runs[cells[0]][1].append(float(cells[3]))
    return runs


def read_reports(folder):
    """recipe -> its reports, by run"""
    reports = collections.defaultdict(list)
    for file in sorted(name for name in os.listdir(folder) if name.endswith(".json")):
        reports[file.split(".")[0]].append(json.load(open(os.path.join(folder, file))))
    return reports


def main(reference_path, runs_path, folder):
    reference, runs = read_reference(reference_path), read_runs(runs_path)
    rows, bad = [HEADER], 0
    for recipe, reports in read_reports(folder).items():
        method = recipe.replace("-", "_")
        known = reference.get(method, ("", "", ""))
        measured = [report["perplexity"] for report in reports]
        most = largest_ratio(method)
        weights_only, good1 = compare([p["weights_only"] for p in measured], known[0], runs[method][0], most)
        full, good2 = compare([p.get("full") for p in measured], known[1], runs[method][1], most)
        bad += (not good1) + (not good2)
        rows.append((recipe, str(len(reports)), *weights_only, *full, f"{reports[0]['sparsity']:.4f}", known[2] or "-",
                     f"{sum(report['seconds']['total'] for report in reports) / len(reports):.0f}"))
    if len(rows) == 1:
        sys.exit(f"{folder}: no reports")
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    for row in rows:
        print("  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]))
    print(f"{bad} outside the tolerance (!)" if bad else "all within the tolerance")
    return bad


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) > 0)
