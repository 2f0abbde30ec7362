"""Samples of a tar archive in webdataset's naming, streamed: consecutive members that share a key.

The key is the member's path up to the first dot of its last component, the field what follows that dot. An archive that
ends early or is damaged in the middle is an error here, and one that `cat` put behind another is read, too; `tarfile`
alone would take both for finished.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from lexlip_infer.errors import InputError
from lexlip_infer.files.reading import Compression, decompressed
from lexlip_infer.inputs.lines import LONGEST
from lexlip_infer.inputs.readers.places import Place, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lexlip_infer.inputs.readers.source import PassedOver

#: By the first two bytes.
_COMPRESSIONS: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz"}

#: Bytes of the long names and further attributes of a member, and of those that are for all.
_LONGEST_HEADER = 2**20
_GNU_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_EXTENSIONS = (*_GNU_EXTENSIONS, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)

#: Fields of a sample; those beyond are a sample of the same key.
_MOST_FIELDS = 1000

#: Bytes that are read of a member at a time.
_PIECE = 2**20


@dataclass(slots=True)
class Member:
    """A file in an archive.

    Attributes:
        name: within the archive.
        offset: where its bytes begin, in the archive as it was before it was compressed.
        size: how many there are.
        data: the bytes, where they were asked for and are not too many.
    """

    name: str
    offset: int
    size: int
    data: bytes | None = None


@dataclass(slots=True)
class Sample:
    """What an archive holds under one key.

    Attributes:
        key: path without suffix.
        fields: by what follows the key ("jpg", "seg.png", "txt", ...), in the archive's order.
        image: the field that is the sample's image: the first of one suffix (017.jpg before or behind 017.seg.png), or
            where all have several, the first.
    """

    key: str
    fields: dict[str, Member] = field(default_factory=dict)
    image: str | None = None

    def add(self, name: str, member: Member, is_image: bool) -> bool:
        """Take a field in; whether its contents matter, which of several images are those of one only."""
        self.fields[name] = member
        if not is_image:
            return True
        if self.image is None or ("." in self.image and "." not in name):
            if self.image is not None:
                self.fields[self.image].data = None
            self.image = name
        return self.image == name

    @property
    def held(self) -> int:
        """Bytes of contents."""
        return sum(len(member.data) for member in self.fields.values() if member.data is not None)


def samples(
    place: Place,
    is_image: Callable[[str], bool],
    others: frozenset[str],
    most: int,
    passed_over: PassedOver,
    in_place: bool = False,
) -> Iterator[Sample]:
    """Samples with at least one wanted field, in the archive's order; of the other members only names are read.

    Args:
        place: .tar, or one compressed with gzip, bzip2 or xz.
        is_image: whether a field holds an image.
        others: fields wanted besides images.
        most: bytes of a sample that are read, `LONGEST` of a field that is no image; members beyond come without
            contents.
        passed_over: gets the unwanted members.
        in_place: for somebody who reads images later at their offsets: their contents are left out here, and a
            compressed archive is refused.

    Raises:
        InputError: the archive cannot be read (any further); what came before has been delivered.
    """
    sample = Sample("")
    try:
        with _opened(place, in_place) as archive:
            for info in archive:
                archive.members = []  # type: ignore[attr-defined]  # tarfile remembers every header for ever
                key, name = _split(info.name)
                image = is_image(name)
                if not (info.isreg() and key and (image or name in others)):
                    _pass_over(info, passed_over)
                    continue
                if sample.fields and (key != sample.key or name in sample.fields or len(sample.fields) == _MOST_FIELDS):
                    yield sample
                    sample = Sample(key)
                sample.key = key
                member = Member(info.name, info.offset_data, info.size)
                room = most - sample.held if image else min(LONGEST, most - sample.held)
                if sample.add(name, member, image) and not (image and in_place) and info.size <= room:
                    member.data = _contents(archive, info)
            if sample.fields:
                yield sample
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  (tarfile, three decompressors and any network)
        if sample.fields:
            yield sample
        what = str(error) if isinstance(error, tarfile.ReadError) else reason(error)
        raise InputError(f"{place}: the archive cannot be read further ({what})") from None


class _Header(tarfile.TarInfo):
    """A header that is damaged or missing ends the archive for tarfile; here only the end of the file does."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Header:
        assert isinstance(tarfile_, _Archive)
        try:
            header = super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros: tarfile looks for more behind it
            tarfile_.ended = True
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):  # type: ignore[attr-defined]
            if not tarfile_.ended:
                raise tarfile.ReadError(_wrong(tarfile_)) from None
            raise tarfile.EmptyHeaderError("end of file") from None  # type: ignore[attr-defined]
        except tarfile.HeaderError:
            raise tarfile.ReadError(_wrong(tarfile_)) from None
        tarfile_.ended = False
        return header

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        """Before tarfile reads what a header announces, however much that may be."""
        assert isinstance(tarfile_, _Archive)
        if self.type in _EXTENSIONS:
            tarfile_.extend(self.size)
        elif self.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse(self)
        else:
            tarfile_.extended = 0
        header: tarfile.TarInfo = super()._proc_member(tarfile_)  # type: ignore[misc]
        return header

    def _proc_gnusparse_10(self, following: tarfile.TarInfo, *_: object) -> None:
        raise _sparse(following)


class _Archive(tarfile.TarFile):
    """One archive, or several joined.

    Attributes:
        ended: whether the last thing that was read is an end marker.
        extended: bytes of the headers that extend the one that is being read.
    """

    tarinfo = _Header
    ended = False
    extended = 0

    def extend(self, size: int) -> None:
        """Count a header of so many bytes, besides those that are for all members."""
        self.extended += size
        common = sum(len(name) + len(value) for name, value in self.pax_headers.items())
        if size < 0 or self.extended + common > _LONGEST_HEADER:
            raise tarfile.ReadError(
                f"a member's name and attributes take more than {_LONGEST_HEADER >> 20} MiB, the most that is read"
            )


def _sparse(member: tarfile.TarInfo) -> tarfile.ReadError:
    """Its map of holes may be of any length."""
    return tarfile.ReadError(
        f"{member.name[:80]!r} is stored with holes, which is not read; archive it without --sparse"
    )


def _wrong(archive: _Archive) -> str:
    if archive.offset == 0:
        return "not a tar archive"
    if archive.ended:
        return "data that is no archive follows its end marker"
    return "it breaks off, or is damaged, before its end marker"


@contextmanager
def _opened(place: Place, in_place: bool) -> Iterator[tarfile.TarFile]:
    """Decompressed by what the bytes are, not by the name. `tarfile` would do it too, but compares no checksum."""
    with place.open() as raw, io.BufferedReader(cast("io.RawIOBase", raw)) as file:
        compression = _COMPRESSIONS.get(file.peek(2)[:2])
        if compression is None:
            with _Archive.open(fileobj=file, mode="r:" if in_place else "r|", ignore_zeros=True) as archive:
                yield archive
            return
        if in_place:
            raise tarfile.ReadError("it is compressed, so that nothing in it has a position")
        with (
            decompressed(file, compression, refuse=tarfile.ReadError) as plain,
            _Archive.open(fileobj=plain, mode="r|", ignore_zeros=True) as archive,
        ):
            yield archive


def _contents(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file is not None, "a regular file has contents"
    if info.size <= _PIECE:
        data = file.read()
    else:  # at once, tarfile would hold it three times
        whole = io.BytesIO()
        while whole.tell() < info.size and (piece := file.read(_PIECE)):
            whole.write(piece)
        data = whole.getvalue()
    if len(data) != info.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _split(path: str) -> tuple[str, str]:
    """Key and field; no key for hidden members."""
    folder, slash, name = path.removeprefix("./").rpartition("/")
    stem, _, suffixes = name.partition(".")
    return (folder + slash + stem, suffixes.lower()) if stem else ("", "")


def _pass_over(info: tarfile.TarInfo, passed_over: PassedOver) -> None:
    if info.isreg() and _split(info.name)[0]:
        passed_over.add(info.name)
    elif not (info.isreg() or info.isdir()):
        passed_over.kinds["no regular file"] += 1
