#!/usr/bin/env python3
"""Makes mixed.pt, legacy.pt and refused.pt of this directory with torch. tests/io/test_torch_file.c knows what is in them."""
import collections
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
base = torch.arange(24, dtype=torch.float32).reshape(4, 6) * 0.25
module = torch.nn.Linear(2, 1)
with torch.no_grad():
    module.weight.copy_(torch.tensor([[1.5, -2.0]]))
    module.bias.copy_(torch.tensor([0.125]))
mixed = {
    "base": base,
    "view": base[1:, ::2].t(),  # [3, 3], strides (2, 6), offset 6, shared storage
    "expanded": base[0, 1].expand(2, 3),
    "half": base.half(),
    "bfloat16": base.bfloat16(),
    "double": base.double() / 3,
    "scalar": torch.tensor(7.0),
    "empty": torch.zeros(0, 5),
    "parameter": torch.nn.Parameter(torch.tensor([3.0])),
    "state": module.state_dict(),  # an ordered dictionary with attributes
    "ordered": collections.OrderedDict([(0, "zero"), (-1, "minus one"), (2**40, "large")]),
    "numbers": [0, 255, 256, 70000, -5, 2**62, -(2**62), 0.5, -1e300, True, False, None],
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]]),
    "text": "\u00e9\u4e2d",
}
torch.save(mixed, os.path.join(here, "mixed.pt"))
torch.save({"R1": base}, os.path.join(here, "legacy.pt"), _use_new_zipfile_serialization=False)
torch.save({"R1": base.int()}, os.path.join(here, "refused.pt"))
