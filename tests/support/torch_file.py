"""Read and write torch zip files with the standard library alone: the tests' independent reader.

A tensor is Tensor(shape, values), float32, row-major.
"""
import array
import collections
import io
import pickle
import sys
import types
import zipfile

Tensor = collections.namedtuple("Tensor", "shape values")


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


class FloatStorage:
    pass


class Evil:
    """Runs a command when a careless reader meets it."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os
        return os.system, (self.command,)


def _rebuild_tensor_v2(storage, offset, shape, stride, *_):
    index = [offset]
    for n, step in zip(shape, stride):
        index = [i + k * step for i in index for k in range(n)]
    return Tensor(tuple(shape), [storage[i] for i in index])


def _pretend():
    """Modules under the names that torch's pickles use."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage, torch._utils, utils._rebuild_tensor_v2 = FloatStorage, utils, _rebuild_tensor_v2
    FloatStorage.__module__, _rebuild_tensor_v2.__module__ = "torch", "torch._utils"
    FloatStorage.__qualname__ = "FloatStorage"
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils


class _Rebuilt:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        stride, step = [], 1
        for n in reversed(self.shape):
            stride.insert(0, step)
            step *= n
        return _rebuild_tensor_v2, (self.storage, 0, self.shape, tuple(stride), False, collections.OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", FloatStorage, value.key, "cpu", value.count)


def save(path, value):
    _pretend()
    storages = []

    def convert(v):
        if isinstance(v, Tensor):
            storages.append(array.array("f", v.values).tobytes())
            return _Rebuilt(Storage(str(len(storages) - 1), len(v.values)), tuple(v.shape))
        return type(v)((k, convert(x)) for k, x in v.items()) if isinstance(v, dict) else v

    stream = io.BytesIO()
    _Pickler(stream, 2).dump(convert(value))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", "little")
        for i, data in enumerate(storages):
            archive.writestr(f"archive/data/{i}", data)
        archive.writestr("archive/version", "3\n")


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream, archive, prefix):
        super().__init__(stream)
        self.archive, self.prefix = archive, prefix

    def find_class(self, module, name):
        known = {("torch", "FloatStorage"): FloatStorage, ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
                 ("collections", "OrderedDict"): collections.OrderedDict}
        return known[module, name]

    def persistent_load(self, pid):
        return array.array("f", self.archive.read(f"{self.prefix}data/{pid[2]}"))


def load(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        return _Unpickler(io.BytesIO(archive.read(name)), archive, name[:-len("data.pkl")]).load()
