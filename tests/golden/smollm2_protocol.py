"""The protocol of smollm2_reference.csv written a second time, in torch, from the specification alone.

An implementation of the whole chain (rotation, calibration, methods, quantizers, perplexity) that shares nothing with Pons nor
with the code that made the reference: it says what spread a perplexity of that table has. Each run differs from the next in
its last bits only (damping 0.01 (1 + 1e-6 nudge)), which thirty quantized blocks turn into several percent of perplexity.
What it gave is in smollm2_protocol_runs.csv.

    smollm2_protocol.py --model MODEL.gguf --calib VALID.i32 --text TEST.i32 --method obr_rtn,obr_gptq --nudge 0,1,2 --json
    (token ids: pons tokenize --model MODEL.gguf --text FILE.txt --out FILE.i32)

A run takes less than half a minute on a large GPU; on a CPU expect an hour. --method dense measures the rotated model,
--no-rotation the one of the file.
Needs torch, numpy and gguf.
"""
import argparse
import json
import math
import random
import time

import numpy as np
import torch

HEAD = 64         # width of an attention head, of its groups of activations and of keys and values
MAXQ = 7          # weights: codes -8..7, the scale reaches 7
BLOCK = 128       # columns of a GPTQ block
GROUPS = (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))
METHODS = ("dense", "gptq", "wanda_rtn", "sparsegpt_gptq", "obr_rtn", "obr_gptq")


# ---- Hadamard matrices and rotation -------------------------------------------------------------------------------------

def legendre(q):
    squares = {i * i % q for i in range(1, q)}
    return lambda a: 0 if a % q == 0 else 1 if a % q in squares else -1


def hadamard_core(k):
    """The +-1 matrix that stands for the factor of a width that is no power of two."""
    if k == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    h = torch.ones(k, k, dtype=torch.float64)
    if k == 12:  # Paley I, q = 11
        chi = legendre(11)
        h[0, 1:] = -1
        for i in range(1, k):
            for j in range(1, k):
                h[i, j] = 1 if i == j else -chi(j - i)
        return h
    if k == 36:  # Paley II, q = 17
        chi = legendre(17)
        c = torch.ones(18, 18, dtype=torch.float64)
        for i in range(18):
            for j in range(18):
                c[i, j] = 0 if i == j else 1 if i == 0 or j == 0 else chi(j - i)
        one = torch.eye(18, dtype=torch.float64)
        return torch.cat((torch.cat((c + one, c - one), 1), torch.cat((c - one, -c - one), 1)), 0)
    raise ValueError(f"no Hadamard matrix of order {k} here")


def hadamard(n):
    """Had_n as an orthogonal matrix M: a vector x becomes M x."""
    k = next((k for k in (36, 12) if n % k == 0 and (n // k) & (n // k - 1) == 0), 1)
    sylvester = torch.ones(1, 1, dtype=torch.float64)
    while sylvester.shape[0] < n // k:
        sylvester = torch.cat((torch.cat((sylvester, sylvester), 1), torch.cat((sylvester, -sylvester), 1)), 0)
    m = torch.kron(hadamard_core(k), sylvester)
    assert m.shape == (n, n) and torch.equal(m @ m.T, n * torch.eye(n, dtype=torch.float64))
    return m / math.sqrt(n)


def random_hadamard(n, generator):
    signs = 2 * torch.randint(0, 2, (n,), generator=generator).double() - 1
    return signs[:, None] * hadamard(n).T


# ---- model --------------------------------------------------------------------------------------------------------------

class Model:
    """embedding, head and, per block, the seven linears in float32; norm gains are folded into the linears"""

    def __init__(self, path, rotate, device, blocks=None):
        import gguf
        reader = gguf.GGUFReader(path)
        field = lambda name: reader.fields[name].contents()
        self.heads, self.kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
        self.eps, self.theta = field("llama.attention.layer_norm_rms_epsilon"), field("llama.rope.freq_base")
        self.rotated, self.device = rotate, device
        tensors = {t.name: torch.tensor(gguf.quants.dequantize(t.data, t.tensor_type)).to(device, torch.float64)
                   for t in reader.tensors if t.name != "token_embd.weight"}
        embedding = next(t for t in reader.tensors if t.name == "token_embd.weight")
        embedding = torch.tensor(gguf.quants.dequantize(embedding.data, embedding.tensor_type)).to(device)
        generator = torch.Generator().manual_seed(0)
        r1 = random_hadamard(embedding.shape[1], generator).to(device) if rotate else None
        # the head is the embedding's copy, times the gain of the last norm
        self.embedding = self.turn(embedding, r1)
        self.head = self.turn(embedding * tensors["output_norm.weight"].float(), r1)
        self.blocks = []
        for i in range(blocks or field("llama.block_count")):
            t = lambda name: tensors[f"blk.{i}.{name}.weight"]
            w = {"q": self.unpermute(t("attn_q"), self.heads), "k": self.unpermute(t("attn_k"), self.kv_heads),
                 "v": t("attn_v"), "o": t("attn_output"), "gate": t("ffn_gate"), "up": t("ffn_up"), "down": t("ffn_down")}
            for name in "qkv":
                w[name] = w[name] * t("attn_norm")
            for name in ("gate", "up"):
                w[name] = w[name] * t("ffn_norm")
            if rotate:
                r2 = random_hadamard(HEAD, generator).to(device)
                for name in ("q", "k", "v", "gate", "up"):
                    w[name] = w[name] @ r1
                for name in ("o", "down"):
                    w[name] = r1.T @ w[name]
                w["v"] = torch.cat([r2.T @ head for head in w["v"].split(HEAD, 0)], 0)
                w["o"] = torch.cat([head @ r2 for head in w["o"].split(HEAD, 1)], 1)
                w["down"] = w["down"] @ hadamard(w["down"].shape[1]).T.to(device)
            self.blocks.append({name: value.float() for name, value in w.items()})
        self.r3 = hadamard(HEAD).float().to(device)
        self.r4 = hadamard(self.blocks[0]["down"].shape[1]).float().to(device)

    @staticmethod
    def turn(w, r1):
        return w if r1 is None else torch.cat([(part.double() @ r1).float() for part in w.split(8192)])

    @staticmethod
    def unpermute(w, heads):
        """Llama's GGUF files interleave the two halves that rotary embedding pairs."""
        return w.reshape(heads, HEAD // 2, 2, -1).transpose(1, 2).reshape(w.shape)


# ---- quantizers ---------------------------------------------------------------------------------------------------------

def codes(w, scale):
    return (w / scale).round().clamp(-MAXQ - 1, MAXQ)


def weight_scale(w):
    """One scale per row: the shrinking of max |w| / 7, 1.00 down to 0.21, whose error in the norm 2.4 is least."""
    full = w.abs().amax(1, keepdim=True).clamp(min=1e-5)
    best, least = full / MAXQ, torch.full_like(full, math.inf)
    for i in range(80):
        scale = (1 - i / 100) * full / MAXQ
        error = (codes(w, scale) * scale - w).abs().pow(2.4).sum(1, keepdim=True)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def fake_quantize(x, group=0):
    """4 bits, asymmetric: per token with zero in the range, or per group of a token with the group's own range."""
    y = x.unflatten(-1, (-1, group)) if group else x
    low, high = y.amin(-1, keepdim=True), y.amax(-1, keepdim=True)
    if not group:
        low, high = low.clamp(max=0), high.clamp(min=0)
    empty = (low == 0) & (high == 0)
    low, high = torch.where(empty, -1.0, low), torch.where(empty, 1.0, high)
    scale = (high - low) / 15
    zero = (-low / scale).round()
    y = scale * (((y / scale).round() + zero).clamp(0, 15) - zero)
    return y.flatten(-2) if group else y


# ---- forward pass -------------------------------------------------------------------------------------------------------

class Forward:
    """The stages of a block over tokens [windows * length, width]; quantized: 4-bit activations, keys and values."""

    def __init__(self, model, length, products="bf16", quantized=False):
        self.model, self.length, self.products, self.quantized = model, length, products, quantized
        angles = torch.arange(length).double()[:, None] / model.theta ** (torch.arange(0, HEAD, 2).double() / HEAD)
        self.cos, self.sin = (f(torch.cat((angles, angles), 1)).float().to(model.device) for f in (torch.cos, torch.sin))
        self.causal = torch.full((length, length), -math.inf, device=model.device).triu(1)

    def operand(self, x):
        """What enters a matrix product: bf16 values; the products themselves sum in float32."""
        return x if self.products == "fp32" else x.bfloat16().float()

    def result(self, x):
        return x.bfloat16().float() if self.products == "bf16out" else x

    def linear(self, x, w):
        return self.result(self.operand(x) @ self.operand(w).T)

    def norm(self, x):
        """and the activation quantizer of the linears that read it"""
        y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.model.eps)
        return fake_quantize(y) if self.quantized else y

    def heads(self, x):
        return x.view(-1, self.length, x.shape[-1] // HEAD, HEAD).transpose(1, 2)

    def rope(self, x):
        return x * self.cos + torch.cat((-x[..., HEAD // 2:], x[..., :HEAD // 2]), -1) * self.sin

    def attention(self, x, w):
        q, k, v = (self.heads(self.linear(x, w[name])) for name in "qkv")
        q, k = self.rope(q), self.rope(k)
        if self.quantized:
            if self.model.rotated:
                q, k = q @ self.model.r3.T, k @ self.model.r3.T
            k, v = fake_quantize(k, HEAD), fake_quantize(v, HEAD)
        out = torch.empty(q.shape[0], self.length, q.shape[1] * HEAD, device=x.device)
        for i in range(q.shape[0]):
            keys, values = (t[i].repeat_interleave(q.shape[1] // t.shape[1], 0) for t in (k, v))
            scores = self.result(self.operand(q[i]) @ self.operand(keys).mT) / math.sqrt(HEAD) + self.causal
            mixed = self.result(self.operand(torch.softmax(scores, -1)) @ self.operand(values))
            out[i] = mixed.transpose(0, 1).flatten(1)
        out = out.flatten(0, 1)
        return fake_quantize(out, HEAD) if self.quantized else out

    def gated(self, x, w):
        y = torch.nn.functional.silu(self.linear(x, w["gate"])) * self.linear(x, w["up"])
        if self.model.rotated:
            y = y @ self.model.r4.T
        return fake_quantize(y) if self.quantized else y

    def block(self, x, w, compress=lambda names, inputs: None):
        """Each group of linears is compressed from its inputs before it is used."""
        y = self.norm(x)
        compress(GROUPS[0], y)
        y = self.attention(y, w)
        compress(GROUPS[1], y)
        x = x + self.linear(y, w["o"])
        y = self.norm(x)
        compress(GROUPS[2], y)
        y = self.gated(y, w)
        compress(GROUPS[3], y)
        return x + self.linear(y, w["down"])


def perplexity(model, blocks, ids, windows, length, products, quantized):
    forward, losses = Forward(model, length, products, quantized), []
    for part in ids[:windows * length].view(windows, length).split(10):
        x = model.embedding[part.flatten()]
        for w in blocks:
            x = forward.block(x, w)
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + model.eps)
        for i, window in enumerate(part):
            logits = forward.linear(x[i * length:(i + 1) * length - 1], model.head)
            losses.append(torch.nn.functional.cross_entropy(logits, window[1:]).item())
    return math.exp(sum(losses) / len(losses))


# ---- methods ------------------------------------------------------------------------------------------------------------

def solve_spd(a, b, width=64):
    """Solutions of a[r] x = b[r] for many positive definite matrices, by a blocked Cholesky; overwrites a."""
    k, y, inverses = a.shape[1], b.clone(), []
    eye = torch.eye(width, device=a.device)
    for j in range(0, k, width):
        e = min(j + width, k)
        if j:
            a[:, j:, j:e] -= a[:, j:, :j] @ a[:, j:e, :j].mT
            y[:, j:e] -= (a[:, j:e, :j] @ y[:, :j, None])[..., 0]
        inverse = torch.linalg.solve_triangular(torch.linalg.cholesky(a[:, j:e, j:e]),
                                                eye[:e - j, :e - j].expand(a.shape[0], -1, -1), upper=False)
        a[:, e:, j:e] = a[:, e:, j:e] @ inverse.mT
        y[:, j:e] = (inverse @ y[:, j:e, None])[..., 0]
        inverses.append(inverse)
    for j in reversed(range(0, k, width)):
        e = min(j + width, k)
        right = y[:, j:e] - (a[:, e:, j:e].mT @ y[:, e:, None])[..., 0]
        y[:, j:e] = (inverses[j // width].mT @ right[..., None])[..., 0]
    return y


def compensate(w, mask, scale, h, p, chunk=1024):
    """Stages A and B of the specification for all rows: w without its pruned weights, the kept ones moved to make up for
    them, then those from column p on for the rounding error of those before."""
    out = torch.zeros_like(w)
    for rows in torch.arange(w.shape[0], device=w.device).split(chunk):
        keep = mask[rows]
        index = keep.nonzero()[:, 1].view(len(rows), -1)  # as many kept weights in each row, ascending
        pruned = torch.where(keep, 0, w[rows])
        delta = solve_spd(h[index[:, :, None], index[:, None, :]], (pruned @ h).gather(1, index))
        v = (w[rows] * keep).scatter_add(1, index, delta)
        error = torch.where(keep, v - codes(v, scale[rows]) * scale[rows], 0)
        error[:, p:] = 0
        index = index[:, (index < p).sum(1).min():]       # the longest right part; what is not of it becomes identity
        right = index >= p
        a = torch.where(right[:, :, None] & right[:, None, :], h[index[:, :, None], index[:, None, :]],
                        torch.eye(index.shape[1], device=w.device))
        b = torch.where(right, (error @ h).gather(1, index), 0)
        out[rows] = v.scatter_add(1, index, solve_spd(a, b))
    return out


def wanda_mask(w, h, sparsity=0.5):
    """True: kept; h undamped"""
    order = (w.abs() * (h.diagonal() / 2).sqrt()).sort(dim=1, stable=True).indices
    return torch.ones_like(w, dtype=torch.bool).scatter(1, order[:, :int(w.shape[1] * sparsity)], False)


def inverse_factor(h):
    """upper U with U^T U = h^-1"""
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)


def gptq(w, mask, scale, h, start=0, segments=None, sparsity=0.5):
    """Rounds the columns from start on, each error pushed to the columns right of it. segments: row counts of the linears
    stacked in w, each of which chooses a mask of its own in each block as SparseGPT does."""
    v, d = w.clone(), w.shape[1]
    u = torch.zeros_like(h)
    u[start:, start:] = inverse_factor(h[start:, start:])
    scale = scale[:, 0]
    for b in range(start, d, BLOCK):
        e = min(b + BLOCK, d)
        block, errors = v[:, b:e].T.contiguous(), torch.empty(e - b, v.shape[0], device=w.device)
        if segments:
            metric = block.square() / u.diagonal()[b:e, None].square()
            keep = torch.cat([part > part.flatten().sort().values[int(part.numel() * sparsity)]
                              for part in metric.split(segments, 1)], 1).float()
        else:
            keep = mask[:, b:e].T.float().contiguous()
        for j in range(e - b):
            rounded = keep[j] * codes(block[j], scale) * scale
            errors[j] = (block[j] - rounded) / u[b + j, b + j]
            block[j + 1:].addr_(u[b + j, b + j + 1:e], errors[j], alpha=-1)
            block[j] = rounded
        v[:, b:e] = block.T
        v[:, e:] -= errors.T @ u[b:e, e:]
    return v


def compress_group(method, weights, scales, h, damping):
    """The dequantized weights of the linears that share the inputs of Hessian h; rows are independent, so they are stacked."""
    w, scale, segments = torch.cat(weights), torch.cat(scales), [len(part) for part in weights]
    dead = h.diagonal() == 0
    w, h = w.masked_fill(dead, 0), h + torch.diag(dead.float())
    mask = torch.ones_like(w, dtype=torch.bool) if method == "gptq" else wanda_mask(w, h)
    damped = h + damping * h.diagonal().mean() * torch.eye(len(h), device=h.device)
    p = len(h) // 2
    if method == "gptq":
        out = gptq(w, mask, scale, damped)
    elif method == "sparsegpt_gptq":
        out = gptq(w, None, scale, damped, segments=segments)
    elif method == "wanda_rtn":
        out = codes(w * mask, scale) * scale
    else:
        v = compensate(w, mask, scale, damped, p)
        out = codes(v, scale) * scale
        if method == "obr_gptq":
            out[:, p:] = gptq(v, mask, scale, damped, p)[:, p:]
    return out.split(segments)


def window_starts(tokens, windows, length, seed=0):
    generator = random.Random(seed)
    return [generator.randint(0, tokens - length - 1) for _ in range(windows)]


def compress(model, scales, ids, windows, length, method, damping, products):
    """The compressed blocks, dequantized, and the share of zero codes."""
    starts = window_starts(len(ids), windows, length)
    x = model.embedding[torch.cat([ids[i:i + length] for i in starts])]
    forward, blocks, zeros, total = Forward(model, length, products), [], 0, 0
    for dense, scale in zip(model.blocks, scales):
        w = dict(dense)

        def compress_names(names, inputs):
            h = 0
            for part in inputs.split(8 * length):
                h = h + (part.T @ part) * (2 / windows)
            parts = compress_group(method, [w[name] for name in names], [scale[name] for name in names], h, damping)
            w.update(zip(names, parts))

        x = forward.block(x, w, compress_names)
        blocks.append(w)
        zeros += sum((part == 0).sum().item() for part in w.values())
        total += sum(part.numel() for part in w.values())
    return blocks, zeros / total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="SmolLM2-135M-Instruct, GGUF")
    parser.add_argument("--calib", help="token ids of the calibration text, int32")
    parser.add_argument("--text", required=True, help="token ids of the test text, int32")
    parser.add_argument("--method", default="obr_gptq", help="one or more of " + ",".join(METHODS))
    parser.add_argument("--nudge", default="0", help="one or more K: damping 0.01 (1 + 1e-6 K)")
    parser.add_argument("--windows", type=int, default=32, help="of the calibration text")
    parser.add_argument("--eval-windows", type=int, default=20)
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--products", choices=("bf16", "fp32", "bf16out"), default="bf16",
                        help="what matrix products multiply; bf16out: results rounded to bf16 too")
    parser.add_argument("--no-rotation", action="store_true")
    parser.add_argument("--blocks", type=int, help="only the first of them, for a rehearsal")
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no run after so long")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    begin = time.time()
    model = Model(arguments.model, not arguments.no_rotation, device, arguments.blocks)
    methods = arguments.method.split(",")
    read = lambda path: torch.from_numpy(np.fromfile(path, "<i4")).long().to(device)
    test = read(arguments.text)
    calib = read(arguments.calib) if arguments.calib else None
    scales = [{name: weight_scale(w) for name, w in block.items()} for block in model.blocks] if methods != ["dense"] else []
    for nudge in map(float, arguments.nudge.split(",")):
        for method in methods:
            if time.time() - begin > arguments.seconds:
                return
            start, blocks, sparsity = time.time(), model.blocks, 0.0
            if method != "dense":
                blocks, sparsity = compress(model, scales, calib, arguments.windows, arguments.length, method,
                                            0.01 * (1 + 1e-6 * nudge), arguments.products)
            middle = time.time()
            a16, a4 = (perplexity(model, blocks, test, arguments.eval_windows, arguments.length, arguments.products, quantized)
                       for quantized in (False, True))
            run = {"method": method, "nudge": nudge, "products": arguments.products, "ppl_w4a16": round(a16, 4),
                   "ppl_w4a4kv4": round(a4, 4), "sparsity": round(sparsity, 5), "seconds_compress": round(middle - start, 1),
                   "seconds": round(time.time() - start, 1)}
            print(json.dumps(run) if arguments.json else "  ".join(map(str, run.values())), flush=True)


if __name__ == "__main__":
    main()
