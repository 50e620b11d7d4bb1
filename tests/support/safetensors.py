"""Read and write safetensors files with the standard library alone: the tests' independent reader."""
import array
import json
import struct


def load(path):
    """name -> (dtype, shape, bytes)"""
    data = open(path, "rb").read()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    return {name: (t["dtype"], t["shape"], data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]])
            for name, t in header.items() if name != "__metadata__"}


def save(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def numbers(tensor):
    """Values of a float or integer tensor as an array."""
    dtype, _, content = tensor
    if dtype == "BF16":
        wide = array.array("I", (h << 16 for h in array.array("H", content)))
        return array.array("f", wide.tobytes())
    if dtype == "F16":
        return array.array("f", struct.unpack(f"<{len(content) // 2}e", content))
    return array.array({"F32": "f", "I64": "q", "I32": "i"}[dtype], content)
