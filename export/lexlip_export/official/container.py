"""The file that `torch.save` writes: a ZIP archive of one pickle and the raw numbers of each tensor.

Read here with Python's own ZIP module, which checks every record's checksum, and `RestrictedUnpickler`. Files of torch
before 1.6 are no archives; those go through torch's `weights_only` loader, which refuses what is not a plain tensor.

A pickle is a program that may call whatever it can import. Here it can import nothing: every name it gives becomes a
fresh, inert class, a dictionary that keeps its items and ignores everything else. The exceptions are storage types,
which become element types, the two functions that assemble a tensor, which become functions of ours, and `set`. What
they return are immutable tuples that point into the file.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import torch
from torch import Tensor

from lexlip_export.official.pickle_check import MOST_STEPS, check_pickle
from lexlip_infer.files import open_regular
from lexlip_infer.files.reading import in_bytes
from lexlip_kernels.errors import BundleError

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
#: Bytes of a pickle, without the numbers of tensors.
MOST_PICKLE = 64_000_000
#: Classes that a pickle may name.
MOST_CLASSES = 1000
#: Times as many numbers as a file holds that its tensors may have: a tied matrix is there once, and used by three.
MOST_SHARED = 4
#: Pickles that follow one another in a file of torch before 1.6: a mark, a version, the machine, tensors, their names.
_OLD_PICKLES = 5


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
        if (module, name) not in self._classes:
            if len(self._classes) == MOST_CLASSES:
                raise pickle.UnpicklingError(f"it names more than {MOST_CLASSES} classes")
            self._classes[module, name] = type(name, (Inert,), {})
        return self._classes[module, name]

    def persistent_load(self, identifier: object) -> Storage:
        """A storage that the file refers to."""
        match identifier:
            case ("storage", torch.dtype() as dtype, str(key), _, int(numel)) if numel >= 0:
                return Storage(self._archive, key, dtype, numel)
            case ("storage", *_):
                raise pickle.UnpicklingError("a storage is of an unknown type")
        raise pickle.UnpicklingError("an unknown kind of reference")


#: A state dict whose tensors may still be in the file.
State = Mapping[str, StoredTensor | Tensor]

_ZIP = b"PK\x03\x04"


class Archive:
    """An open ZIP archive of torch.

    Args:
        path: of the file.

    Attributes:
        size: of the file, in bytes.

    Raises:
        BundleError: it is no archive of torch, or one of another byte order.
        zipfile.BadZipFile: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._zip = zipfile.ZipFile(path)
        pickles = [name for name in self._zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            self.close()
            raise BundleError(f"{path}: a ZIP archive, but not one that torch.save wrote; expected one data.pkl in it")
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}byteorder" in self._zip.namelist() and self.read("byteorder", 16) != b"little":
            self.close()
            raise BundleError(f"{path}: written on a big-endian machine; load and save it again on this one")

    def read(self, name: str, most: int) -> bytes:
        """One record of at most so many bytes, after its checksum.

        Raises:
            zipfile.BadZipFile: the record is damaged, of another size, or compressed, which torch never does (it could
                be a bomb).
            KeyError: there is no such record.
        """
        info = self._zip.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{name} is compressed")
        if info.file_size > most:
            raise zipfile.BadZipFile(f"{name} holds {in_bytes(info.file_size)}; at most {in_bytes(most)} are expected")
        return self._zip.read(info)

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


@contextmanager
def open_container(path: Path) -> Iterator[Any]:
    """The object that was saved, with every tensor a `StoredTensor` that can be read while the context lasts.

    Objects of all classes are `Inert`; nothing in the file is executed. Files of torch before 1.6 hold tensors alone.

    Raises:
        BundleError: the file is missing, damaged, or was not written by torch.save.
    """
    with _damage(path):
        with open_regular(path, refuse=lambda reason: BundleError(f"{path}: {reason}")) as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
            if not is_archive:
                file.seek(0)
                left = MOST_STEPS
                for _ in range(_OLD_PICKLES):
                    left -= check_pickle(file, left, for_torch=True)
        if not is_archive:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            archive = Archive(path)
    if not is_archive:
        yield content
        return
    try:
        with _damage(path):
            data = archive.read("data.pkl", MOST_PICKLE)
            check_pickle(io.BytesIO(data))
            content = RestrictedUnpickler(io.BytesIO(data), archive).load()
        yield content
    finally:
        archive.close()


def state_of(content: object, what: str) -> State:
    """The same, after a check that it maps names to tensors.

    Args:
        content: what a file holds.
        what: the file, for messages.

    Raises:
        BundleError: it holds something else.
    """
    if not isinstance(content, Mapping) or not content:
        raise BundleError(f"{what}: holds no state dict; expected names and tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, StoredTensor | Tensor):
            shown = repr(name[:80]) if isinstance(name, str) else "a name"
            raise BundleError(f"{what}: {shown} in the state dict is no tensor; expected tensors alone")
    _check_amount(content.values(), what)
    return content


def _check_amount(tensors: Iterable[StoredTensor | Tensor], what: str) -> None:
    """Refuse tensors that have many more numbers than the file: any number of them may point to the same few."""
    held: dict[object, int] = {}
    wanted = bytes_held = 0
    for stored in tensors:
        wanted += math.prod(stored.shape)
        if isinstance(stored, Tensor):
            held[stored.untyped_storage().data_ptr()] = stored.untyped_storage().nbytes() // stored.element_size()
        else:
            key, dtype, numel = stored.storage[1:]
            bytes_held += 0 if key in held else numel * dtype.itemsize
            held[key] = numel
            if bytes_held > stored.storage.archive.size:
                raise BundleError(f"{what}: says that it holds more numbers than the file has room for; copy it again")
    if wanted > MOST_SHARED * sum(held.values()):
        raise BundleError(
            f"{what}: tensors of {wanted:,} numbers are made of {sum(held.values()):,}; expected at most {MOST_SHARED} "
            "times as many: it is not a whole checkpoint, or not an honest one"
        )


def tensor(stored: StoredTensor | Tensor) -> Tensor:
    """The numbers, in float32.

    Raises:
        BundleError: they are not floating-point numbers, are damaged, or fewer than the sizes say.
    """
    dtype = stored.dtype if isinstance(stored, Tensor) else stored.storage.dtype
    if not dtype.is_floating_point:
        raise BundleError(f"a weight is of type {dtype}; expected floating-point numbers")
    if isinstance(stored, Tensor):
        return stored.detach().float()
    storage, offset, shape, stride = stored
    path = storage.archive.path
    with _damage(path):
        data = bytearray(storage.archive.read(f"data/{storage.key}", storage.numel * storage.dtype.itemsize))
        numbers = torch.frombuffer(data, dtype=storage.dtype)
        if math.prod(shape) > storage.numel or len(numbers) != storage.numel:
            raise ValueError(f"{len(numbers)} numbers for a tensor of {shape}")
        return numbers.as_strided(shape, stride, offset).contiguous().float()


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes zipfile, pickle and torch raise becomes one line."""
    try:
        yield
    except BundleError:
        raise
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # noqa: BLE001  (a hostile pickle can make the unpickler raise anything)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{path}: damaged, or not written by torch.save ({reason}); copy it again") from None
