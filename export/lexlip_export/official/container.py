"""The file that `torch.save` writes: a ZIP archive of one pickle and the raw numbers of each tensor.

Read here with Python's own ZIP module, which checks every record's checksum, and `RestrictedUnpickler`. Files of torch
before 1.6 are no archives; those go through torch's `weights_only` loader, which refuses what is not a plain tensor.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lexlip_export.official.inert_pickle import RestrictedUnpickler, StoredTensor
from lexlip_kernels.errors import BundleError

__all__ = ["Archive", "State", "open_container", "state_of", "tensor"]

#: A state dict whose tensors may still be in the file.
State = Mapping[str, StoredTensor | Tensor]

_ZIP = b"PK\x03\x04"


class Archive:
    """An open ZIP archive of torch.

    Args:
        path: of the file.

    Raises:
        BundleError: it is no archive of torch, or one of another byte order.
        zipfile.BadZipFile: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        pickles = [name for name in self._zip.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            self.close()
            raise BundleError(f"{path}: a ZIP archive, but not one that torch.save wrote; expected one data.pkl in it")
        self._folder = pickles[0].removesuffix("data.pkl")
        if f"{self._folder}byteorder" in self._zip.namelist() and self.read("byteorder") != b"little":
            self.close()
            raise BundleError(f"{path}: written on a big-endian machine; load and save it again on this one")

    def read(self, name: str) -> bytes:
        """One record, after its checksum.

        Raises:
            zipfile.BadZipFile: the record is damaged, or compressed, which torch never does (it could be a bomb).
            KeyError: there is no such record.
        """
        info = self._zip.getinfo(self._folder + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{name} is compressed")
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
        with path.open("rb") as file:
            is_archive = file.read(len(_ZIP)) == _ZIP
        if not is_archive:
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            archive = Archive(path)
    if not is_archive:
        yield content
        return
    try:
        with _damage(path):
            content = RestrictedUnpickler(io.BytesIO(archive.read("data.pkl")), archive).load()
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
    return content


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
        data = bytearray(storage.archive.read(f"data/{storage.key}"))
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
