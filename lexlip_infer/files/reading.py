"""Reading what may come from a stranger: regular files of a size that is known before a byte is read.

A FIFO in the place of a manifest would be waited for without end, a device or a bomb of a compressed file would fill
the memory. Whoever reads a file whole does it here, under a limit, and so does whoever decompresses one. What is wrong
is given as a reason, and the room that asked makes its own error of it.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from lexlip_infer.files.folders import Folder, kind

if TYPE_CHECKING:
    import pydantic

#: Makes an error from a reason, such as "is a FIFO; expected a regular file".
Refusal: TypeAlias = Callable[[str], Exception]

#: Bytes of a file of JSON that is read whole, which may take forty times as many in memory; a log of training of ten
#: thousand lines takes two million.
MOST_JSON = 16_000_000
#: Compressed bytes that are looked at together.
_PIECE = 2**17
#: Bytes of a file that is hashed before it is held in memory, and once more then: a refusal has to be cheap.
_HASHED_FIRST = 2**28
#: Bytes that an xz file may ask for as its dictionary; those of `xz -9` are 64 MiB.
_XZ_MEMORY = 2**27


def open_regular(
    path: Path | str, *, refuse: Refusal, limit: int | None = None, folder: Folder | None = None
) -> BinaryIO:
    """Open a file that has to be a regular one, without waiting for anything else.

    Args:
        path: of the file; links are followed. A name, where `folder` is given.
        refuse: makes the error for what is no such file.
        limit: bytes that it may have; `read_regular` holds to it even if the file grows.
        folder: in which no link is followed.

    Raises:
        OSError: it is missing, or cannot be opened.
        Exception: what `refuse` made.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags) if folder is None else folder.opened(str(path), flags, refuse)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise refuse(f"is {kind(found.st_mode)}; expected a regular file")
        if limit is not None and found.st_size > limit:
            raise refuse(f"holds {in_bytes(found.st_size)}; at most {in_bytes(limit)} are read")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path | str, limit: int, *, refuse: Refusal, folder: Folder | None = None) -> bytes:
    """The contents of a regular file of at most `limit` bytes; arguments and errors as of `open_regular`."""
    with open_regular(path, refuse=refuse, limit=limit, folder=folder) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1)
    if len(data) > size:
        raise refuse("grows while it is read; wait until it is written")
    return data


def read_json(path: Path | str, *, refuse: Refusal, limit: int = MOST_JSON, folder: Folder | None = None) -> Any:
    """What is in a JSON file; arguments and errors as of `read_regular`, and one for what is no JSON or too deep."""
    import pydantic  # as in `read_version`; its reader stops at a depth, and Python's own at that of its stack

    data = read_regular(path, limit, refuse=refuse, folder=folder)
    try:
        return pydantic.TypeAdapter(Any).validate_json(data)
    except pydantic.ValidationError as error:
        raise refuse(f"is no JSON ({first_fault(error)})") from None


def in_bytes(size: int) -> str:
    """A size as messages give it: "3.2 GB", "64 MB", "17 bytes"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:,.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def hash_file(path: Path) -> str:
    """Sha256 of a file's contents, whatever its size.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    with open_regular(path, refuse=lambda reason: OSError(None, reason, str(path))) as file:
        return hash_opened(file)


def hash_opened(file: BinaryIO) -> str:
    """Sha256 of the contents of a file, which is then at its beginning again."""
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def read_hashed(
    path: Path | str, size: int, sha256: str, changed: Callable[[int, str], Exception], folder: Folder | None = None
) -> bytes:
    """The contents of a file, if they are what a manifest says; of another size, it is not read.

    Args:
        path: of the file; a name, where `folder` is given.
        size: bytes, as the manifest says.
        sha256: likewise.
        changed: makes the error for other contents from their size, and their hash where they were read.
        folder: as of `open_regular`.

    Raises:
        OSError: it cannot be read, or is no regular file.
        Exception: what `changed` made.
    """
    with open_regular(path, refuse=lambda reason: OSError(None, reason, str(path)), folder=folder) as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            raise changed(found, "")
        if size > _HASHED_FIRST and (actual := hash_opened(file)) != sha256:
            raise changed(size, actual)
        data = file.read(size + 1)
    actual = hashlib.sha256(data).hexdigest()
    if (len(data), actual) != (size, sha256):
        raise changed(len(data), actual)
    return data


Compression: TypeAlias = Literal["gzip", "bzip2", "xz"]


def decompressed(
    file: BinaryIO, compression: Compression, *, refuse: Refusal, limit: int | None = None, times: int = 0
) -> io.BufferedReader:
    """The contents of a compressed file as a file, expanded as they are read and no further.

    Args:
        file: compressed; it is closed with the result.
        compression: of the file.
        refuse: makes the error for a damaged file, and for one that goes beyond the limit.
        limit: bytes that it may expand to, however many are asked for.
        times: so many more for each compressed byte that was read up to there.

    Raises:
        Exception: what `refuse` made, while reading.
    """
    return io.BufferedReader(_Expanding(file, compression, refuse, limit, times), _PIECE)


def bounded_lines(file: io.BufferedIOBase | BinaryIO, limit: int, *, refuse: Refusal) -> Iterator[bytes]:
    """The lines of a file with their ends, none of them longer than `limit` bytes.

    Args:
        file: plain or `decompressed`.
        limit: bytes of a line.
        refuse: makes the error for a longer line.

    Raises:
        Exception: what `refuse` made.
    """
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise _too_long(number, limit, refuse)
        yield line


def bounded_blocks(
    file: io.BufferedIOBase | BinaryIO, limit: int, size: int, most: int, *, refuse: Refusal
) -> Iterator[tuple[int, bytes]]:
    """The same lines, many together: the number of the first, and some `size` bytes of whole lines.

    Args:
        file: plain or `decompressed`.
        limit: bytes of a line.
        size: bytes that are read together.
        most: lines that are given together.
        refuse: makes the error for a longer line.

    Raises:
        Exception: what `refuse` made.
    """
    number = 1
    while block := file.read(min(size, limit)):
        if not block.endswith(b"\n"):
            room = limit - len(block) + block.rfind(b"\n") + 1
            rest = file.readline(room + 1)
            if len(rest) > room:
                raise _too_long(number + block.count(b"\n"), limit, refuse)
            block += rest
        start, lines = 0, block.count(b"\n")
        while lines > most:
            end = start
            for _ in range(most):
                end = block.index(b"\n", end) + 1
            yield number, block[start:end]
            number, start, lines = number + most, end, lines - most
        yield number, block[start:] if start else block
        number += lines


def _too_long(number: int, limit: int, refuse: Refusal) -> Exception:
    return refuse(f"has a line (number {number}) of more than {in_bytes(limit)}, the most that is read")


class _Gunzip:
    """zlib's decompressor in the shape of those of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)


def _decompressor(compression: Compression) -> Any:
    if compression == "gzip":
        return _Gunzip()
    return bz2.BZ2Decompressor() if compression == "bzip2" else lzma.LZMADecompressor(memlimit=_XZ_MEMORY)


class _Expanding(io.RawIOBase):
    """One member of a compressed file after the other, as the tools of that name read them."""

    def __init__(
        self, file: BinaryIO, compression: Compression, refuse: Refusal, limit: int | None, times: int
    ) -> None:
        self._file, self._compression, self._refuse = file, compression, refuse
        self._limit, self._times, self._read, self._size = limit, times, 0, 0
        self._member = _decompressor(compression)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._some(len(buffer))
        except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk
                raise
            if "Memory usage limit" in str(error):
                raise self._refuse(f"asks for more than {in_bytes(_XZ_MEMORY)} of memory; compress it anew") from None
            raise self._refuse(f"is a damaged {self._compression} file ({error}); copy it again") from None
        self._size += len(data)
        if self._limit is not None and self._size > (limit := self._limit + self._times * self._read):
            raise self._refuse(
                f"expands from {in_bytes(self._read)} to more than {in_bytes(limit)}, the most that is read; if it is "
                "trusted, decompress it first"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    def _piece(self) -> bytes:
        piece = self._file.read(_PIECE)
        self._read += len(piece)
        return piece

    def _some(self, most: int) -> bytes:
        """At least a byte, or none at the end."""
        while True:
            if self._member.eof:
                # Padding of zeros between and behind members belongs to the format; so does the end of the file.
                rest = self._member.unused_data.lstrip(b"\0")
                while not rest:
                    if not (rest := self._piece()):
                        return b""
                    rest = rest.lstrip(b"\0")
                self._member = _decompressor(self._compression)
                piece = rest
            else:
                piece = self._piece() if self._member.needs_input else b""
            ended = self._member.needs_input and not piece
            data: bytes = self._member.decompress(piece, most)
            if data:
                return data
            if ended and not self._member.eof:
                raise EOFError("it breaks off")


#: Faults that are put into words, of which only the first is said.
_MOST_FAULTS = 1000
#: Values in a manifest; pydantic keeps half a kilobyte for each that is wrong.
_MOST_ENTRIES = 2**20


def read_version(data: bytes) -> int:
    """`format_version` of a manifest: compared before all else is read, as a newer version has unknown fields.

    Raises:
        pydantic.ValidationError: there is none, or it has too many entries to look at.
    """
    import pydantic  # not above: decode workers read files, and no manifests

    if sum(map(data.count, (b",", b"[", b"{"))) > _MOST_ENTRIES:
        fault = ValueError(f"more than {_MOST_ENTRIES:,} entries, the most that are read")
        raise pydantic.ValidationError.from_exception_data(
            "manifest", [{"type": "value_error", "loc": (), "input": None, "ctx": {"error": fault}}]
        )
    fields: Any = {"format_version": (int, pydantic.Field(ge=1))}
    version: Any = pydantic.create_model("manifest", **fields).model_validate_json(data)
    return int(version.format_version)


def first_fault(error: pydantic.ValidationError, top: str = "") -> str:
    """What is wrong with a manifest and where, such as "settings.scale: Input should be greater than 0".

    Args:
        error: of pydantic, which spreads over many lines.
        top: stands for the place where the file as a whole is at fault.
    """
    if error.error_count() > _MOST_FAULTS:
        return f"{top}: {error.error_count():,} faults".removeprefix(": ")
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])).encode("unicode_escape").decode() or top
    return f"{place}: {first['msg']}" if place else str(first["msg"])
