"""A file or folder, here or behind a URL, as far as readers need one: list it, open it, name it.

Local paths stay paths, so that workers can read them. Everything with "://" goes through fsspec, an extra.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

from lexlip_infer.errors import InputError, MissingExtra, require
from lexlip_infer.files.reading import open_regular
from lexlip_infer.inputs.read_ahead import map_ahead

Named = TypeVar("Named")
Result = TypeVar("Result")

#: Of a file that is read here as a whole (out of an archive or table, or through the network): more is no photograph.
MAX_FILE_BYTES = 2**27

#: Files on their way through a network at once, which is also how many are held in memory.
_AHEAD = 8

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


#: What a name in a folder stands for: a folder, a regular file (or a link to one), or something else.
Kind = Literal["folder", "file", "other"]


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A path of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """Last component."""
        return self.path.name

    @property
    def parent(self) -> LocalPlace:
        """The folder it lies in."""
        return LocalPlace(self.path.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        """Components of the absolute path, links not resolved."""
        return Path(os.path.abspath(self.path)).parts[1:]  # noqa: PTH100  (resolve() would follow links)

    def is_folder(self) -> bool:
        """Whether it is a folder; false if it does not exist."""
        return self._is("is_dir")

    def exists(self) -> bool:
        """Whether anything is there."""
        return self._is("exists")

    def _is(self, question: str) -> bool:
        try:
            return bool(getattr(self.path, question)())
        except OSError as error:  # too long a name, or a parent that may not be entered
            raise InputError(f"{self}: cannot be read ({error.strerror})") from None

    def child(self, name: str) -> LocalPlace:
        """What has this name in a folder."""
        return LocalPlace(self.path / name)

    def entries(self) -> Iterator[tuple[str, Kind]]:
        """What lies in a folder, in no order; links to folders are not followed, nor listed.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        yield entry.name, "folder"
                    elif not _follow(entry, "is_dir"):
                        yield entry.name, "file" if _follow(entry, "is_file") else "other"
        except OSError as error:
            raise InputError(f"{error.filename or self}: cannot be read ({error.strerror})") from None

    def size(self) -> int:
        """Bytes; -1 if it is gone."""
        try:
            return self.path.stat().st_size
        except (OSError, ValueError):  # ValueError: a NUL in the name
            return -1

    def open(self) -> BinaryIO:
        """For reading, which begins anew with every opening, and so takes a regular file.

        Raises:
            InputError: it cannot be opened, or is something else.
        """
        try:
            return open_regular(self.path, refuse=lambda reason: InputError(f"{self}: {reason}"))
        except OSError as error:
            raise InputError(f"{self}: cannot be read ({error.strerror})") from None


def _follow(entry: os.DirEntry[str], question: str) -> bool:
    try:
        return bool(getattr(entry, question)())
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """A path of an fsspec file system.

    Attributes:
        filesystem: of fsspec.
        path: without the protocol.
    """

    filesystem: Any
    path: str

    def __str__(self) -> str:
        # A password in a URL has no business in a message or in failures.jsonl.
        return re.sub(r"(?<=://)[^/@]*@", "", str(self.filesystem.unstrip_protocol(self.path)))

    @property
    def name(self) -> str:
        """Last component."""
        path = self.path.partition("?")[0] if self.path.startswith("http") else self.path
        return path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def parent(self) -> RemotePlace:
        """The folder it lies in."""
        return RemotePlace(self.filesystem, self.path.rstrip("/").rpartition("/")[0])

    @property
    def parts(self) -> tuple[str, ...]:
        """Protocol, host and path."""
        return tuple(part for part in re.split(r"://|/", str(self)) if part)

    def is_folder(self) -> bool:
        """Whether it is a folder, or a prefix with something below."""
        return bool(self._ask("isdir"))

    def exists(self) -> bool:
        """Whether anything is there."""
        return bool(self._ask("exists"))

    def child(self, name: str) -> RemotePlace:
        """What has this name in a folder."""
        return RemotePlace(self.filesystem, f"{self.path.rstrip('/')}/{name}")

    def entries(self) -> Iterator[tuple[str, Kind]]:
        """What lies in a folder, in no order.

        Raises:
            InputError: it cannot be read.
        """
        for info in self._ask("ls", detail=True):
            path = str(info["name"])
            if path.strip("/") != self.path.strip("/"):  # some stores list a marker of the folder itself
                kind: Kind = "folder" if info["type"] == "directory" else "file" if info["type"] == "file" else "other"
                yield RemotePlace(self.filesystem, path).name, kind

    def open(self) -> BinaryIO:
        """For reading.

        Raises:
            InputError: it cannot be opened.
        """
        return cast("BinaryIO", self._ask("open", mode="rb"))

    def read(self) -> bytes:
        """The whole file.

        Raises:
            InputError: it cannot be read, or is larger than `MAX_FILE_BYTES`.
        """
        with self.open() as file:
            try:
                data = file.read(MAX_FILE_BYTES + 1)
            except Exception as error:  # noqa: BLE001  (as below)
                raise InputError(f"{self}: cannot be read ({reason(error)})") from None
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{self}: {too_large(MAX_FILE_BYTES)}")
        return data

    def _ask(self, question: str, **options: Any) -> Any:
        try:
            return getattr(self.filesystem, question)(self.path, **options)
        except Exception as error:  # noqa: BLE001  (every store raises its own: botocore's, aiohttp's, ...)
            raise InputError(f"{self}: cannot be read ({reason(error)})") from None


Place = LocalPlace | RemotePlace


def is_url(spec: str) -> bool:
    """Whether fsspec is to read it."""
    return _URL.match(spec) is not None


def place_of(spec: str) -> Place:
    """The place that a path or URL names, whether it exists or not.

    Raises:
        InputError: nothing reads this kind of URL.
        MissingExtra: fsspec, or its module for this kind of URL, is not installed.
    """
    if not is_url(spec):
        return LocalPlace(Path(spec))
    if spec.lower().startswith("file://"):
        return LocalPlace(Path(spec[len("file://") :]))
    fsspec = require("fsspec", "io")
    try:
        filesystem, path = fsspec.core.url_to_fs(spec, use_listings_cache=False)
    except ImportError as error:  # such as "Please install gcsfs to access Google Storage"
        raise MissingExtra(f"{spec}: {error}") from None
    except Exception as error:  # noqa: BLE001  (unknown protocols, missing credentials, ...)
        raise InputError(f"{spec}: cannot be opened ({reason(error)})") from None
    return RemotePlace(filesystem, path)


def fetched(places: Iterable[Named], fetch: Callable[[Named], Result]) -> Iterator[Result]:
    """What `fetch` makes of each place, in order, a few at once: one request at a time would leave the machine idle."""
    return map_ahead(fetch, places, _AHEAD, _AHEAD, "fetch")


def too_large(limit: int) -> str:
    """What is said of a file, beyond its name, of which more than `limit` bytes would have to be held."""
    return f"larger than {limit >> 20} MiB, the most that is read out of archives, tables and the network"


def reason(error: Exception) -> str:
    """An exception in one line."""
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
