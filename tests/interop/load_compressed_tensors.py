#!/usr/bin/env python3
"""Load directories written by Pons in transformers (with compressed-tensors) and compare with Pons.

    load_compressed_tensors.py OUT... --pons PROGRAM --text FILE [--windows N] [--length S] [--golden-model PROGRAM]

Each OUT must be a complete standard model (rotation.online: false, activations and KV cache at 16 bits). FILE is text, tokenized
with OUT/tokenizer.json, or ids (.ids: decimal numbers). Compared are
- perplexity of the first N windows of S tokens against `pons eval ppl`, to 1e-3 relative;
- with --golden-model (the test program golden.model of the build), logits and hidden states after block 0 of two windows:
  transformers' are written beside the model as a fixture, which that program then checks against Pons.
Exit code: 0 equal, 1 not, 77 skipped because torch, transformers or compressed-tensors is not installed.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings

os.environ["TQDM_DISABLE"] = "1"

SKIPPED = 77
TOLERANCE = 1e-3
FIXTURE_WINDOWS, FIXTURE_LENGTH = 2, 48

try:
    import torch
    import transformers
    import compressed_tensors
    from safetensors.torch import save_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(SKIPPED)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", nargs="+")
    parser.add_argument("--pons", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--golden-model")
    return parser.parse_args()


def read_ids(path, out):
    text = open(path, encoding="utf-8").read()
    if path.endswith(".ids"):
        return [int(word) for word in text.split()]
    from tokenizers import Tokenizer
    return Tokenizer.from_file(os.path.join(out, "tokenizer.json")).encode(text, add_special_tokens=False).ids


def load(out):
    """The model in float32, every key of the checkpoint accounted for."""
    config = json.load(open(os.path.join(out, "config.json")))
    manifest = json.load(open(os.path.join(out, "pons.json")))["runtime"]
    if any(manifest[key] for key in ("hadamard_qk", "hadamard_heads", "hadamard_down")) or \
            manifest["activations"]["bits"] < 16 or manifest["kv"]["bits"] < 16 or manifest["values"]["bits"] < 16:
        sys.exit(f"{out}: pons.json asks for work while the model runs, which no standard engine does")
    options = {}
    groups = config.get("quantization_config", {}).get("config_groups", {})
    if not all(group["weights"]["symmetric"] for group in groups.values()):
        # compressed-tensors 0.20 makes room for unpacked zero points and then refuses its own packed ones, unless the
        # weights are dequantized while loading.
        options["quantization_config"] = transformers.CompressedTensorsConfig(dequantize=True)
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        out, dtype=torch.float32, output_loading_info=True, **options)
    wrong = {key: value for key, value in report.items() if value}
    if wrong:
        sys.exit(f"{out}: loading says {wrong}")
    return model.eval()


@torch.no_grad()
def perplexity(model, ids, windows, length):
    total = 0.0
    for w in range(windows):
        window = torch.tensor(ids[w * length:(w + 1) * length])[None]
        logits = model(window).logits[0, :-1].double()
        total += torch.nn.functional.cross_entropy(logits, window[0, 1:]).item()
    return math.exp(total / windows)


def compare_perplexity(arguments, out, model, ids):
    theirs = perplexity(model, ids, arguments.windows, arguments.length)
    command = [arguments.pons, "--quiet", "eval", "ppl", "--model", out, "--text", arguments.text, "--windows",
               str(arguments.windows), "--length", str(arguments.length), "--compute", "fp32", "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)}: exit code {result.returncode}: {result.stderr.strip()}")
    ours = json.loads(result.stdout)["perplexity"]
    difference = abs(ours / theirs - 1)
    print(f"perplexity: pons = {ours:.6f} transformers = {theirs:.6f} relative difference = {difference:.2g}")
    return difference < TOLERANCE


@torch.no_grad()
def compare_logits(arguments, out, model, ids):
    count = FIXTURE_WINDOWS * FIXTURE_LENGTH
    windows = torch.tensor(ids[:count]).reshape(FIXTURE_WINDOWS, FIXTURE_LENGTH)
    result = model(windows, output_hidden_states=True)
    with tempfile.TemporaryDirectory() as golden:
        fixture = os.path.join(golden, "models", "out")
        os.makedirs(fixture)
        for name in os.listdir(out):
            os.symlink(os.path.abspath(os.path.join(out, name)), os.path.join(fixture, name))
        save_file({"input_ids": windows.int().contiguous(), "logits": result.logits.contiguous(),
                   "hidden_after_block0": result.hidden_states[1].contiguous()},
                  os.path.join(fixture, "expected.safetensors"))
        check = subprocess.run([arguments.golden_model], env=dict(os.environ, PONS_GOLDEN=golden), capture_output=True,
                               text=True)
    for line in (check.stdout + check.stderr).splitlines():
        if "deviate" in line or check.returncode:
            print(line)
    return check.returncode == 0


def compare(arguments, out):
    print(f"{out}:", flush=True)
    ids = read_ids(arguments.text, out)
    if len(ids) < max(arguments.windows * arguments.length, FIXTURE_WINDOWS * FIXTURE_LENGTH):
        sys.exit(f"{arguments.text}: only {len(ids)} tokens")
    model = load(out)
    same = compare_perplexity(arguments, out, model, ids)
    if arguments.golden_model:
        same = compare_logits(arguments, out, model, ids) and same
    return same


def main():
    arguments = parse_arguments()
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, "
          f"compressed-tensors {compressed_tensors.__version__}")
    wrong = [out for out in arguments.out if not compare(arguments, out)]
    for out in wrong:
        print(f"{out}: does not agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
