"""One run at a time in an output folder: two would overwrite each other's shards and journal.

The lock is the system's, on the folder itself: it leaves no file behind and ends with its process, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lexlip_infer.errors import OutputError

__all__ = ["locked"]

#: What file systems answer that cannot lock a folder (some network ones); to refuse to run there would be worse.
_CANNOT_LOCK = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def locked(folder: Path, command: str = "lexlip-encode") -> Iterator[None]:
    """Hold an existing folder while the block runs.

    Args:
        folder: to hold.
        command: what writes there, for the message.

    Raises:
        OutputError: another run holds it.
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _lock(descriptor):
            raise OutputError(f"another {command} is writing into {folder}; wait for it or name another folder")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
    return True
