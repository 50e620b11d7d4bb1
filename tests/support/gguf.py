"""Write GGUF files with the standard library alone: what converters make of a Hugging Face directory with fp32 tensors."""
import json
import struct

import safetensors

NUMBER = {"u16": (2, "<H"), "u32": (4, "<I"), "i32": (5, "<i"), "f32": (6, "<f")}
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
ENDS = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight"}


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def name_of(name):
    if name in ENDS:
        return ENDS[name]
    part = name.split(".")
    return f"blk.{part[2]}.{NAMES['.'.join(part[3:-1])]}.{part[-1]}"


def turned(content, rows, heads):
    """Rows of a head as converters order them: the two members of a rotary pair side by side."""
    size, dim = len(content) // rows, rows // heads
    order = [h * dim + half * (dim // 2) + j for h in range(heads) for j in range(dim // 2) for half in range(2)]
    return b"".join(content[i * size:(i + 1) * size] for i in order)


def tensors(folder):
    """name -> (shape, bytes) of a folder's model.safetensors, named and ordered as in GGUF files."""
    c = json.load(open(folder + "/config.json"))
    out = {}
    for name, (dtype, shape, content) in safetensors.load(folder + "/model.safetensors").items():
        assert dtype == "F32"
        if "q_proj" in name:
            content = turned(content, shape[0], c["num_attention_heads"])
        if "k_proj" in name:
            content = turned(content, shape[0], c["num_key_value_heads"])
        out[name_of(name)] = shape, content
    return out


def metadata(folder):
    c = json.load(open(folder + "/config.json"))
    return [("general.architecture", "str", "llama"), ("llama.context_length", "u32", c["max_position_embeddings"]),
            ("llama.embedding_length", "u32", c["hidden_size"]), ("llama.block_count", "u32", c["num_hidden_layers"]),
            ("llama.feed_forward_length", "u32", c["intermediate_size"]),
            ("llama.attention.head_count", "u32", c["num_attention_heads"]),
            ("llama.attention.head_count_kv", "u32", c["num_key_value_heads"]),
            ("llama.attention.layer_norm_rms_epsilon", "f32", c["rms_norm_eps"]),
            ("llama.rope.freq_base", "f32", c["rope_theta"])]


def save(path, pairs, named):
    """pairs: (key, type, value) with type u16, u32, i32, f32 or str; named: name -> (shape, fp32 bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(named), len(pairs))
    for key, kind, value in pairs:
        head += string(key)
        head += struct.pack("<I", 8) + string(value) if kind == "str" else \
            struct.pack("<I", NUMBER[kind][0]) + struct.pack(NUMBER[kind][1], value)
    data = b""
    for name, (shape, content) in named.items():
        head += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", s) for s in shape[::-1])
        head += struct.pack("<IQ", 0, len(data))
        data += content + b"\0" * (-len(content) % 32)
    with open(path, "wb") as file:
        file.write(head + b"\0" * (-len(head) % 32) + data)
