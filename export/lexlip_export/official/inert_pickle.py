"""Unpickle the skeleton of a checkpoint while running nothing that the file names.

A pickle is a program that may call whatever it can import. Here it can import nothing: every name it gives becomes a
fresh, inert class, a dictionary that keeps its items and ignores everything else. The exceptions are storage types,
which become element types, the two functions that assemble a tensor, which become functions of ours, and `set`. What
they return are immutable tuples that point into the file.
"""

from __future__ import annotations

import pickle
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

import torch

if TYPE_CHECKING:
    from lexlip_export.official.container import Archive

__all__ = ["Inert", "RestrictedUnpickler", "Storage", "StoredTensor"]

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_MOST_DIMENSIONS = 8


class Inert(dict[object, object]):
    """Stands in for an object of any class: keeps the items of mappings, ignores arguments, state and elements."""

    def __new__(cls, *_arguments: object, **_options: object) -> Self:
        """An empty one, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_options: object) -> None:
        super().__init__()

    def __hash__(self) -> int:  # type: ignore[override]
        # Files use such objects as keys, which a dictionary refuses.
        return id(self)

    def __call__(self, *_arguments: object, **_options: object) -> Inert:
        """What a file finds by `getattr` it also calls; here that is nothing again."""
        return Inert()

    def __setstate__(self, _state: object) -> None:
        """Ignore it."""

    def _ignore(self, *_elements: object) -> None:
        """Elements of lists and sets."""

    append = extend = add = _ignore


class Storage(NamedTuple):
    """A run of numbers in the file.

    Attributes:
        archive: the open file.
        key: name of the record.
        dtype: of the numbers.
        numel: how many there are.
    """

    archive: Archive
    key: str
    dtype: torch.dtype
    numel: int


class StoredTensor(NamedTuple):
    """A tensor that is still in the file: gigabytes of optimiser state and queues are never read.

    Attributes:
        storage: where its numbers are.
        offset: of its first number.
        shape: sizes.
        stride: steps between numbers.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _RebuildTensor:
    """`torch._utils._rebuild_tensor_v2`."""

    __slots__ = ()

    def __call__(
        self, storage: object, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_rest: object
    ) -> StoredTensor:
        numbers = (offset, *shape, *stride)
        is_layout = len(numbers) <= 1 + 2 * _MOST_DIMENSIONS and all(
            isinstance(number, int) and 0 <= number < 1 << 48 for number in numbers
        )
        if not isinstance(storage, Storage) or not is_layout:
            raise pickle.UnpicklingError("a tensor is not made of a storage and sizes")
        return StoredTensor(storage, offset, tuple(shape), tuple(stride))


class _RebuildParameter:
    """`torch._utils._rebuild_parameter`."""

    __slots__ = ()

    def __call__(self, tensor: object, *_rest: object) -> object:
        return tensor


class RestrictedUnpickler(pickle.Unpickler):
    """Reads `data.pkl` of an archive.

    Args:
        file: its bytes.
        archive: where tensors point to.
    """

    def __init__(self, file: IO[bytes], archive: Archive) -> None:
        super().__init__(file, encoding="utf-8")
        self._archive = archive
        # Of this file alone: a pickle could write attributes onto what it was given.
        self._classes: dict[tuple[str, str], type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a global of the file becomes; nothing is imported."""
        if module in ("torch", "torch.cuda") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _RebuildParameter()
        if module in ("builtins", "__builtin__") and name == "set":
            return set
        return self._classes.setdefault((module, name), type(name, (Inert,), {}))

    def persistent_load(self, identifier: object) -> Storage:
        """A storage that the file refers to."""
        match identifier:
            case ("storage", torch.dtype() as dtype, str(key), _, int(numel)) if numel >= 0:
                return Storage(self._archive, key, dtype, numel)
            case ("storage", *_):
                raise pickle.UnpicklingError("a storage is of an unknown type")
        raise pickle.UnpicklingError("an unknown kind of reference")
