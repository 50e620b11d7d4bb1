"""Print our perplexities beside the reference's and check them: compare_smollm2.py REFERENCE.csv FOLDER_OF_REPORTS

The folder holds RECIPE.RUN.json. Compared is the geometric mean over the runs of a recipe, which differ in their last bits
only: 5 % for every row, 0.3 % for the dense model, which has no such noise, a factor of 2 for wanda_rtn, which destroys
the model.
"""
import collections
import json
import math
import os
import sys

HEADER = ("recipe", "runs", "A16", "reference", "ratio", "runs' ratios", "A4KV4", "reference", "ratio", "runs' ratios",
          "zeros", "reference", "seconds")


def largest_ratio(method):
    return {"dense": 1.003, "wanda_rtn": 2.0}.get(method, 1.05)


def compare(ours, theirs, most):
    """Cells of one perplexity over all runs, and whether their mean is within the tolerance."""
    if None in ours:
        return ("-", theirs or "-", "-", "-"), True
    mean = math.exp(sum(map(math.log, ours)) / len(ours))
    if not theirs:
        return (f"{mean:.3f}", "-", "-", "-"), True
    ratio, spread = mean / float(theirs), [value / float(theirs) for value in sorted(ours)]
    good = 1 / most <= ratio <= most
    return (f"{mean:.3f}", theirs, f"{ratio:.3f}" + ("" if good else " !"), f"{spread[0]:.3f}..{spread[-1]:.3f}"), good


def read_reference(path):
    """method -> perplexity W4A16, W4A4KV4, sparsity, as written"""
    lines = [line.strip().split(",") for line in open(path) if not line.startswith("#")]
    return {cells[0]: cells[1:] for cells in lines if len(cells) == 4}


def read_reports(folder):
    """recipe -> its reports, by run"""
    reports = collections.defaultdict(list)
    for file in sorted(name for name in os.listdir(folder) if name.endswith(".json")):
        reports[file.split(".")[0]].append(json.load(open(os.path.join(folder, file))))
    return reports


def main(reference_path, folder):
    reference = read_reference(reference_path)
    rows, bad = [HEADER], 0
    for recipe, reports in read_reports(folder).items():
        method = recipe.replace("-", "_")
        known = reference.get(method, ("", "", ""))
        measured = [report["perplexity"] for report in reports]
        weights_only, good1 = compare([p["weights_only"] for p in measured], known[0], largest_ratio(method))
        full, good2 = compare([p.get("full") for p in measured], known[1], largest_ratio(method))
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
