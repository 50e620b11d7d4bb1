"""Write a Llama of a given shape with random weights: make_model.py DIR HIDDEN FFN LAYERS HEADS KV_HEADS [config].
With `config` as the last word only config.json is written."""
import array
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import safetensors

VOCAB = 512
path, (hidden, ffn, layers, heads, kv) = sys.argv[1], map(int, sys.argv[2:7])
os.makedirs(path, exist_ok=True)
json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB, "hidden_size": hidden,
           "intermediate_size": ffn, "num_hidden_layers": layers, "num_attention_heads": heads,
           "num_key_value_heads": kv, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
           "hidden_act": "silu", "torch_dtype": "bfloat16", "tie_word_embeddings": True,
           "bos_token_id": 1, "eos_token_id": 2}, open(path + "/config.json", "w"))
if sys.argv[7:] == ["config"]:
    sys.exit()

random.seed(1)
# bf16 with random sign and mantissa and the exponent of 0.03: cheap, and wild enough
pool = array.array("H", (random.getrandbits(1) << 15 | 0x3CC0 | random.getrandbits(7) for _ in range(1 << 16)))


def matrix(rows, cols):
    data = array.array("H")
    while len(data) < rows * cols:
        start = random.randrange(len(pool))
        data += pool[start:] + pool[:start]
    return "BF16", [rows, cols], data[:rows * cols].tobytes()


ones = "BF16", [hidden], array.array("H", [0x3F80] * hidden).tobytes()
width = hidden // heads * kv
tensors = {"model.embed_tokens.weight": matrix(VOCAB, hidden), "model.norm.weight": ones}
for i in range(layers):
    name = f"model.layers.{i}."
    for linear, rows, cols in (("self_attn.q_proj", hidden, hidden), ("self_attn.k_proj", width, hidden),
                               ("self_attn.v_proj", width, hidden), ("self_attn.o_proj", hidden, hidden),
                               ("mlp.gate_proj", ffn, hidden), ("mlp.up_proj", ffn, hidden),
                               ("mlp.down_proj", hidden, ffn)):
        tensors[f"{name}{linear}.weight"] = matrix(rows, cols)
    tensors[name + "input_layernorm.weight"] = tensors[name + "post_attention_layernorm.weight"] = ones
safetensors.save(path + "/model.safetensors", tensors)
