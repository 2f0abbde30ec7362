"""Samples of a tar archive in webdataset's naming, streamed: consecutive members that share a key.

The key is the member's path up to the first dot of its last component, the field what follows that dot. An archive that
ends early or is damaged in the middle is an error here; `tarfile` alone would take it for finished.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.readers.places import MAX_FILE_BYTES, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lexlip_infer.inputs.items import PassedOver
    from lexlip_infer.inputs.readers.places import Place

__all__ = ["Sample", "samples"]


#: Bytes read at once where nothing but the end is of interest.
_BLOCK = 2**16


#: By the first two bytes.
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


@dataclass(slots=True)
class Sample:
    """What an archive holds under one key.

    Attributes:
        key: path without suffix.
        fields: name within the archive and contents, by field ("jpg", "txt", ...); None for a member too large to read.
    """

    key: str
    fields: dict[str, tuple[str, bytes | None]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all fields."""
        return sum(len(data) for _, data in self.fields.values() if data is not None)


class _Member(tarfile.TarInfo):
    """A header that is damaged or missing ends the archive for tarfile; here only the end marker does."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError:
            what = (
                "not a tar archive" if tarfile_.offset == 0 else "it breaks off, or is damaged, before its end marker"
            )
            raise tarfile.ReadError(what) from None


def samples(place: Place, wanted: Callable[[str], bool], together: bool, passed_over: PassedOver) -> Iterator[Sample]:
    """Samples with at least one wanted field, in the archive's order; of the others' members only names are read.

    Args:
        place: .tar, or one compressed with gzip, bzip2 or xz.
        wanted: whether a field is to be read.
        together: whether fields of one key are needed at once. Otherwise each comes alone, and names with dots in them,
            which all have one key, do not fill the memory.
        passed_over: gets the other members.

    Raises:
        InputError: the archive cannot be read (any further); what came before has been delivered.
    """
    sample = Sample("")
    try:
        with _decompressed(place) as file, tarfile.open(fileobj=file, mode="r|", tarinfo=_Member) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile remembers every header for ever
                key, name = _split(member.name)
                if not (member.isreg() and key and wanted(name)):
                    _pass_over(member, passed_over)
                    continue
                if sample.fields and (key != sample.key or name in sample.fields or not together):
                    yield sample
                    sample = Sample(key)
                sample.key = key
                sample.fields[name] = (member.name, _contents(archive, member, MAX_FILE_BYTES - sample.size))
            while file.read(_BLOCK):  # to the very end, where gzip and xz have their checksum
                pass
            if sample.fields:
                yield sample
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (tarfile, three decompressors and any network)
        if sample.fields:
            yield sample
        what = str(error) if isinstance(error, tarfile.ReadError) else reason(error)
        raise InputError(f"{place}: the archive cannot be read further ({what})") from None


@contextmanager
def _decompressed(place: Place) -> Iterator[BinaryIO]:
    """By what the bytes are, not by the name. `tarfile` would do it too, but compares no checksum."""
    with place.open() as raw, io.BufferedReader(cast("io.RawIOBase", raw)) as file:
        opener = _OPENERS.get(file.peek(2)[:2])
        if opener is None:
            yield file
            return
        with opener(file) as plain:
            yield plain


def _contents(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes | None:
    if member.size > most:
        return None
    file = archive.extractfile(member)
    assert file is not None, "a regular file has contents"
    data = file.read()
    if len(data) != member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _split(path: str) -> tuple[str, str]:
    """Key and field; no key for hidden members."""
    folder, slash, name = path.removeprefix("./").rpartition("/")
    stem, _, suffixes = name.partition(".")
    return (folder + slash + stem, suffixes.lower()) if stem else ("", "")


def _pass_over(member: tarfile.TarInfo, passed_over: PassedOver) -> None:
    if member.isreg() and _split(member.name)[0]:
        passed_over.add(member.name)
    elif not (member.isreg() or member.isdir()):
        passed_over.kinds["no regular file"] += 1
