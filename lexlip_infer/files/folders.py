"""A folder that is held while it is read and written, so that no link inside it leads anywhere else.

Folders travel between people, and a link in one of them may name any file of whoever opens it. So everything is opened,
renamed and removed relative to the folder's descriptor and never by following a link; a link is refused by name. The
path that the user gave is another matter: it may be a link, or lead through some.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from lexlip_infer.errors import OutputError

#: What file systems answer that cannot lock (some network ones); to refuse to run there would be worse.
_CANNOT_LOCK = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

#: Of every file that is opened here: no link is followed, and no FIFO waited for.
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_A_LINK = "is a symbolic link, which may lead out of its folder; put the file itself in its place (cp -rL copies so)"


class Folder:
    """A folder held by a descriptor; close it, or use it in a `with` statement. Build it with `open`.

        with Folder.open(Path("out")) as folder, folder.new("part") as file:
            file.write(b"...")

    Names may have several parts (`"segments/000001/ids.npy"`): none of them may be a link or lead upwards.

    Args:
        path: as messages name it.
        descriptor: of the folder, which belongs to this object from now on.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    @classmethod
    def open(cls, path: Path, create: bool = False) -> Folder:
        """The folder that the user named, links followed.

        Args:
            path: of the folder.
            create: make it if it is missing, with those above it.

        Raises:
            OSError: there is none, or it cannot be opened.
        """
        if create:
            with suppress(FileExistsError):  # what is there need not be a folder: the next line says so
                path.mkdir(parents=True)
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder, and of the lock on it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def folder(self, name: str, create: bool = False) -> Folder:
        """A folder in this one.

        Raises:
            OutputError: a link stands in its place.
            OSError: it is missing, is none, or cannot be opened.
        """
        with self._holder(name) as (holder, last):
            if create:
                with suppress(FileExistsError):
                    os.mkdir(last, dir_fd=holder)
            return Folder(self.path / name, self._descend(holder, last, self.path / name))

    def status(self, name: str) -> os.stat_result | None:
        """Of a file or folder, or nothing where there is none.

        Raises:
            OutputError: a link stands in its place.
        """
        with suppress(FileNotFoundError, NotADirectoryError), self._holder(name) as (holder, last):
            found = os.stat(last, dir_fd=holder, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise OutputError(f"{self.path / name}: {_A_LINK}")
            return found
        return None

    def file_status(self, name: str) -> os.stat_result | None:
        """Of a regular file, or nothing where there is none.

        Raises:
            OutputError: a link, a folder or a special file stands in its place.
        """
        found = self.status(name)
        if found is not None:
            _refuse_kind(self.path / name, found.st_mode)
        return found

    def names(self) -> list[str]:
        """Of all that is in the folder, in order."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208  (no path: a descriptor)

    def opened(self, name: str, flags: int, refuse: Callable[[str], Exception] | None = None) -> int:
        """A descriptor of what has this name; whether it is a regular file is still to be seen.

        Args:
            name: of the file.
            flags: of `os.open`.
            refuse: makes the error for a link; an `OutputError` that names it when absent.

        Raises:
            OSError: it cannot be opened.
        """
        with self._holder(name) as (holder, last):
            try:
                return os.open(last, flags | _SAFELY, 0o666, dir_fd=holder)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise OutputError(f"{self.path / name}: {_A_LINK}") if refuse is None else refuse(_A_LINK) from None
                raise

    def new(self, name: str) -> BinaryIO:
        """A new file; one that is there is removed, not emptied: under another name, its contents stay as they are.

        Raises:
            OutputError: a link, a folder or a special file stands in its place.
            OSError: it cannot be made.
        """
        self.remove(name)
        return os.fdopen(self.opened(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb")

    def changed(self, name: str) -> BinaryIO:
        """A file to be written in place, made if it is missing.

        Raises:
            OutputError: it is a link, no regular file, or has another name, under which it would change as well.
            OSError: it cannot be opened.
        """
        descriptor = self.opened(name, os.O_RDWR | os.O_CREAT)
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
            return os.fdopen(descriptor, "r+b")
        os.close(descriptor)
        _refuse_kind(self.path / name, found.st_mode)
        raise OutputError(f"{self.path / name}: is a hard link to a file that has other names; put a copy in its place")

    def move(self, name: str, to: Folder, new_name: str) -> None:
        """Give a file its place, over an older one or a link if there is one, and bring the new name to the disk.

        Raises:
            OSError: it cannot be moved.
        """
        with to._holder(new_name) as (there, new_last), self._holder(name) as (here, last):
            os.rename(last, new_last, src_dir_fd=here, dst_dir_fd=there)
            os.fsync(there)

    def remove(self, name: str) -> None:
        """Remove a file, if there is one.

        Raises:
            OutputError: a link, a folder or a special file stands there.
            OSError: it cannot be removed.
        """
        if self.file_status(name) is not None:
            with self._holder(name) as (holder, last):
                os.unlink(last, dir_fd=holder)

    def remove_folder(self, name: str) -> None:
        """Remove a folder, if there is one, and all below it; links in it are removed, and never followed.

        Raises:
            OutputError: a link or a file stands there.
            OSError: it cannot be removed.
        """
        if (found := self.status(name)) is None:
            return
        if not stat.S_ISDIR(found.st_mode):
            raise OutputError(f"{self.path / name}: is no folder; remove it")
        with self._holder(name) as (holder, last):
            shutil.rmtree(last, dir_fd=holder)

    def remove_if_empty(self, name: str) -> None:
        """Remove a folder that holds nothing; one that holds something stays, and so does what is no folder."""
        with suppress(OSError), self._holder(name) as (holder, last):
            os.rmdir(last, dir_fd=holder)

    def empty(self) -> None:
        """Remove all that is in the folder; links are removed, and never followed."""
        for name in self.names():
            if stat.S_ISDIR(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=self.descriptor)
            else:
                os.unlink(name, dir_fd=self.descriptor)

    def sync(self) -> None:
        """Bring the list of names to the disk: a rename that was not synced may be lost with the power.

        Raises:
            OSError: the system cannot.
        """
        os.fsync(self.descriptor)

    def lock(self, busy: str) -> None:
        """Hold the folder until it is closed: two that write there would spoil each other's files.

        Args:
            busy: what is the matter if another process holds it, for the message.

        Raises:
            OutputError: another process holds it.
        """
        if not lock(self.descriptor):
            raise OutputError(f"{busy}; wait for it or name another folder")

    @contextmanager
    def _holder(self, name: str) -> Iterator[tuple[int, str]]:
        """The descriptor of the folder that directly holds what has this name, and the last part of the name."""
        *above, last = name.split("/")
        if not {"", ".", ".."}.isdisjoint((*above, last)) or "\0" in name:
            raise OutputError(f"{self.path}: {name!r} is no name of anything in this folder")
        with ExitStack() as held:
            holder, path = self.descriptor, self.path
            for part in above:
                path /= part
                holder = self._descend(holder, part, path)
                held.callback(os.close, holder)
            try:
                yield holder, last
            except OutputError:
                raise
            except OSError as error:  # the system names what it was given, which is the last part alone
                raise OSError(error.errno, error.strerror, str(self.path / name)) from None

    @staticmethod
    def _descend(holder: int, name: str, path: Path) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=holder)
        except OSError as error:
            with suppress(FileNotFoundError):  # a link that is not followed is no directory, either
                if stat.S_ISLNK(os.stat(name, dir_fd=holder, follow_symlinks=False).st_mode):
                    raise OutputError(f"{path}: {_A_LINK}") from None
            raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[Folder]:
    """Hold an existing folder while the block runs, as `Folder.lock` does.

    Raises:
        OutputError: another process holds it.
        OSError: it cannot be opened.
    """
    with Folder.open(folder) as held:
        held.lock(busy)
        yield held


def lock(descriptor: int) -> bool:
    """Whether the lock of a file or folder could be had; it ends with its descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
    return True


def kind(mode: int) -> str:
    """What a mode says that something is, in words."""
    for number, name in _KINDS.items():
        if stat.S_IFMT(mode) == number:
            return name
    return "a special file"


_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _refuse_kind(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: is {kind(mode)}, where a regular file is expected; move it elsewhere")
