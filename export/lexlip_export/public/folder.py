"""Whether a folder from a hub is all there, before anything of it is read."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from lexlip_infer.files import open_regular
from lexlip_kernels.errors import BundleError
from lexlip_training.wordpiece import read_tokenizer_file

_POINTER = b"version https://git-lfs"


def check_whole(folder: Path) -> None:
    """Refuse pointers in the place of files, and downloads that have not ended; of a single file as well.

    Raises:
        BundleError: there are some; the message names one.
    """
    unfinished = next(iter(sorted(folder.rglob("*.incomplete"))), None)
    if unfinished is not None:
        raise BundleError(f"{unfinished}: a download that has not ended; download the model again")
    for path in sorted(folder.iterdir()) if folder.is_dir() else [folder]:
        if _is_pointer(path):
            raise BundleError(f"{path}: is a pointer of Git LFS, not the file; git lfs pull gets it")


def _is_pointer(path: Path) -> bool:
    try:
        with open_regular(path, refuse=BundleError) as file:
            return file.read(len(_POINTER)) == _POINTER
    except (OSError, BundleError):  # whoever needs the file will say so
        return False


def find_tokenizer(given: Path | None, *folders: Path) -> Tokenizer:
    """The tokenizer that was given, or that of the first folder that has one.

    Raises:
        BundleError: none has, or it cannot be read.
    """
    if given is not None:
        return read_tokenizer_file(given)
    for folder in folders:
        if folder.is_dir() and any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt")):
            return read_tokenizer_file(folder)
    places = " and ".join(map(str, folders))
    raise BundleError(f"{places}: no tokenizer; give that of bert-base-uncased: --tokenizer")
