#!/usr/bin/env python3
"""Stages 1 and 2 of the compensation as the reference programs do them: in torch, in fp32, one Cholesky per stage and row, on
sampled rows. Reads a layer that `pons bench solver --dump FILE` wrote; the cost of all rows is extrapolated."""
import argparse
import json
import platform
import struct
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("torch_baseline.py: torch is not installed")

TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U8": torch.uint8}


def load(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        count = (end - begin) // TYPES[entry["dtype"]].itemsize
        tensors[name] = torch.frombuffer(data, dtype=TYPES[entry["dtype"]], count=count, offset=begin).reshape(entry["shape"]).clone()
    missing = {"W", "H", "mask", "scale", "rows", "V", "alpha", "damping"} - tensors.keys()
    if missing:
        sys.exit(f"{path}: no tensor {', '.join(sorted(missing))}; write the file with pons bench solver --dump")
    return tensors


def solve(A, b):
    return torch.cholesky_solve(b.unsqueeze(1), torch.linalg.cholesky(A)).squeeze(1)


def compensate(w, H, keep, scale, p):
    """One row: pruned entries first, then what rounding the columns below p takes from the kept ones after it."""
    kept = torch.nonzero(keep).squeeze(1)
    pruned = torch.nonzero(~keep).squeeze(1)
    v = torch.zeros_like(w)
    if len(kept) == 0:
        return v
    new = w[kept].clone()
    if len(pruned):
        new += solve(H[kept][:, kept], H[kept][:, pruned] @ w[pruned])
    left = kept < p
    rounded = torch.clamp(torch.round(new[left] / scale), -8, 7) * scale
    error = new[left] - rounded
    new[left] = rounded
    first, second = kept[left], kept[~left]
    if len(first) and len(second):
        new[~left] += solve(H[second][:, second], H[second][:, first] @ error)
    v[kept] = new
    return v


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="layer from pons bench solver --dump")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--repeat", type=int, default=3, help="the best of N runs counts (default: 3)")
    parser.add_argument("--sample", type=int, help="rows to solve (default: those in the file)")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: processor time over threads (default: wall)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    t = load(options.file)
    W, scale, keep = t["W"], t["scale"], t["mask"].bool()
    rows = t["rows"][:options.sample]
    d = W.shape[1]
    p = int(t["alpha"].item() * d)
    lam = t["damping"].item() * t["H"].diagonal().double().mean().item()
    H = t["H"].double()
    dead = H.diagonal() == 0
    H[dead, dead] = 1.0
    H = (H + lam * torch.eye(d, dtype=torch.float64)).float()
    W = torch.where(dead, torch.zeros((), dtype=W.dtype), W)

    best = float("inf")
    for _ in range(options.repeat):
        wall, cpu = time.perf_counter(), time.process_time()
        V = torch.stack([compensate(W[r], H, keep[r], scale[r], p) for r in rows.tolist()])
        took = time.perf_counter() - wall if options.clock == "wall" else (time.process_time() - cpu) / options.threads
        best = min(best, took)

    def error(X):
        D = (X - W[rows]).double()
        return ((D @ H.double()) * D).sum().item()

    exact = error(t["V"][:len(rows)])
    result = {"what": "torch", "method": "one Cholesky per stage and row", "rows": W.shape[0], "dim": d, "measured_rows": len(rows),
              "threads": options.threads, "seconds_per_row": best / len(rows), "seconds": best / len(rows) * W.shape[0],
              "error_ratio": error(V) / exact if exact > 0 else 1.0, "torch": torch.__version__, "python": platform.python_version()}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"torch {torch.__version__}, {options.threads} threads: {result['seconds_per_row']:.4g} s per row over {len(rows)} rows; "
              f"all {W.shape[0]}: {result['seconds']:.4g} s (extrapolated); error over the direct solver's {result['error_ratio']:.5f}")


if __name__ == "__main__":
    main()
