#!/usr/bin/env python3
"""Writes one recipe per row of the paper's tables: make.py [DIRECTORY] (default: where this file is).

tables.csv holds the printed numbers, families.csv says for each table and method by which framework and method of Pons it is made, or
why it is not. Bits (weights-activations-KV) and sparsity come from the row; its label names the row, and pons report finds it by that.
"""
import csv
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent

# What the published instructions of each framework set, beyond bits, method and sparsity.
FRAMEWORKS = {
    "dense": """
calibration: {windows: 128, length: 2048, join: lines}
rotation: {kind: none}
evaluate: {text: wikitext2/wiki.test.raw, windows: 0, length: 2048, join: lines, special: true}
""",
    "quarot": """
calibration: {windows: 128, length: 2048, join: lines}
rotation: {kind: quarot, mode: hadamard, hadamard_dtype: %(dtype)s}
weights: {bits: %(w)s, symmetric: true, clip: mse}
activations: {bits: %(a)s, symmetric: true, o_proj_head_groups: false}
kv: {bits: %(kv)s, symmetric: true, per_head: false}
evaluate: {text: wikitext2/wiki.test.raw, windows: 0, length: 2048, join: lines, special: true}
""",
    "spinquant": """
calibration: {windows: 128, length: 2048, join: lines}
rotation: {kind: spinquant, hadamard_dtype: %(dtype)s, file: spinquant/%(model)s/R.bin}
weights: {bits: %(w)s, symmetric: true, clip: mse}
activations: {bits: %(a)s, symmetric: false, o_proj_head_groups: true}
kv: {bits: %(kv)s, symmetric: false, per_head: true}
evaluate: {text: wikitext2/wiki.test.raw, windows: 0, length: 2048, join: lines, special: false}
""",
    "flatquant": """
calibration: {windows: 128, length: 2048, join: stripped}
rotation: {kind: flatquant, file: flatquant/%(model)s/flat_matrices.pth}
weights: {bits: %(w)s, symmetric: true, clip: none}
activations: {bits: %(a)s, symmetric: true, o_proj_head_groups: false}
kv: {bits: %(kv)s, symmetric: false, per_head: true}
evaluate: {text: wikitext2/wiki.test.raw, windows: 0, length: 2048, join: lines, special: true}
""",
}


def bits_and_sparsity(row):
    """(weights, activations, KV bits), share of zeros. A figure gives bits per weight: 16 or 4 per kept weight, and one for the
    mask of the quantized ones."""
    if not row["bits"].startswith("equiv_"):
        return row["bits"].split("-"), float(row["sparsity"]) / 100
    bits = int(row["bits"][len("equiv_"):])
    if row["method"].startswith("Pruning"):
        return ("16", "16", "16"), 1 - bits / 16
    if row["method"].startswith("OBR"):
        return ("4", "4", "4"), 1 - (bits - 1) / 4
    return (str(bits),) * 3, 0.0


def recipe(row, family):
    (w, a, kv), sparsity = bits_and_sparsity(row)
    label = " ".join(row[key] for key in ("table", "model", "method", "bits"))
    dtype = "bf16" if family["framework"] == "spinquant" or not row["model"].startswith("Llama2") else "f16"
    text = "# Made by configs/paper/make.py; paths are those of configs/paper/README.md.\n"
    text += f'label: "{label}"\nmethod: {family["pons_method"]}\ncompat: faithful\n'
    text += (FRAMEWORKS[family["framework"]] % {"w": w, "a": a, "kv": kv, "model": row["model"], "dtype": dtype}).lstrip("\n")
    if family["framework"] == "dense":
        text += "activations: {bits: 16}\nkv: {bits: 16}\n"
    if sparsity:
        text += f"prune: {{sparsity: {sparsity:g}}}\n"
    return text + f"output: {{dtype: {dtype}}}\n"


def file_name(row):
    """Table1_QuaRot/Llama2-7B/obr-gptq-4-4-4.yaml"""
    method = re.sub(r"[^a-z0-9]+", "-", row["method"].lower()).strip("-")
    return pathlib.Path(row["table"], row["model"], f"{method}-{row['bits'].replace('_', '-')}.yaml")


def main(directory):
    with open(HERE / "families.csv", newline="") as file:
        families = {(f["table"], f["method"]): f for f in csv.DictReader(file)}
    with open(HERE / "tables.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        family = families[row["table"], row["method"]]
        if family["reason"]:
            continue
        path = directory / file_name(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(recipe(row, family))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
