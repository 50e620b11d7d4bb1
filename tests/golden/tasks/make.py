#!/usr/bin/env python3
"""Makes the fixture of pons eval tasks: expected.json and tokenizer.json beside this file.

Needs torch, transformers and tokenizers; tests only read what it wrote. The tokenizer is byte-level BPE with 320 tokens, as many as
the models under ../models have. For every model, task and choice, expected.json holds the log-likelihood (fp32 forward of one choice
at a time, log-softmax in fp64) and the number of tokens of the continuation, by lm-eval 0.4's rules: prompts as its task files give
them, white space at the end of a context moved to the continuation, context and continuation encoded together and cut at the length
of the encoded context, no special tokens, the last max_position_embeddings + 1 tokens kept.
"""
import json
import pathlib
import re

import tokenizers
import torch
import transformers

here = pathlib.Path(__file__).parent


def train_tokenizer():
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    t.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=320, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
                                             show_progress=False)
    t.train([str(here / "../../data/wikitext2-valid.txt")], trainer)
    t.save(str(here / "tokenizer.json"))
    return t


def clean(text):
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def arc(doc):
    nested = isinstance(doc["question"], dict)
    question = doc["question"]["stem"] if nested else doc["question"]
    texts = [c["text"] for c in doc["question"]["choices"]] if nested else doc["choices"]["text"]
    return [(f"Question: {question}\nAnswer:", " " + text) for text in texts]


def winogrande(doc):
    before, after = doc["sentence"].split("_", 1)
    return [(before + doc[o], " " + after.strip()) for o in ("option1", "option2")]


PAIRS = {
    "piqa": lambda d: [(f"Question: {d['goal']}\nAnswer:", " " + d[s]) for s in ("sol1", "sol2")],
    "boolq": lambda d: [(f"{d['passage']}\nQuestion: {d['question']}?\nAnswer:", " " + a) for a in ("no", "yes")],
    "hellaswag": lambda d: [(clean(f"{d['activity_label']}: {d['ctx_a']} {d['ctx_b'].capitalize()}"), " " + clean(e))
                            for e in d["endings"]],
    "arc_easy": arc, "arc_challenge": arc, "winogrande": winogrande}


def score(model, tokenizer, context, continuation):
    kept = context.rstrip()
    continuation = context[len(kept):] + continuation
    whole, head = tokenizer.encode(kept + continuation).ids, tokenizer.encode(kept).ids
    scored = len(whole) - len(head)
    whole = whole[-(model.config.max_position_embeddings + 1):]
    with torch.no_grad():
        logits = model(torch.tensor([whole[:-1]])).logits[0].double()
    losses = torch.log_softmax(logits, -1)[torch.arange(len(whole) - 1), torch.tensor(whole[1:])]
    return losses[-scored:].sum().item(), scored


def main():
    tokenizer = train_tokenizer()
    expected = {}
    for path in sorted((here / "../models").iterdir()):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        expected[path.name] = {
            task: [[list(score(model, tokenizer, *pair)) for pair in pairs(json.loads(line))]
                   for line in (here / f"{task}.jsonl").read_text().splitlines()]
            for task, pairs in PAIRS.items()}
    (here / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
