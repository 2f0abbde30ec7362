"""Files of a repository on the Hugging Face hub, and why there are none, said in one line.

The only place that downloads a model. What is in the hub's cache (`HF_HOME`) is not downloaded again.
"""

from __future__ import annotations

import functools
import glob
from collections.abc import Iterable
from pathlib import Path

from lexlip_infer.errors import BundleError


def snapshot(
    name: str, files: Iterable[str], revision: str | None, token: str | None, cache_dir: str | Path | None
) -> Path:
    """Folder with those of the files that the repository has.

    Args:
        name: of the repository, `owner/name`.
        files: their paths in it.
        revision: branch, tag or commit.
        token: where the repository is private or gated; what `hf auth login` has stored when absent.
        cache_dir: where downloads are kept; the hub's own cache when absent.

    Raises:
        BundleError: the hub cannot be reached, has no such repository or revision, or does not give it.
    """
    from huggingface_hub import snapshot_download

    patterns = [glob.escape(file) for file in files]
    download = functools.partial(
        snapshot_download, name, revision=revision, token=token, cache_dir=cache_dir, allow_patterns=patterns
    )
    try:
        try:
            return Path(download())
        except Exception as error:  # the library looks into its cache where it got no connection, not where it lost one
            if not _lost_connection(error):
                raise
            return Path(download(local_files_only=True))
    except Exception as error:  # noqa: BLE001  (the hub's errors, those of its HTTP library, and of the disk)
        raise BundleError(f"{name}: no such folder, and {_refusal(error, revision)}") from None


def _lost_connection(error: BaseException | None) -> bool:
    """Whether the system's own error lies below that of the HTTP library, which one and which version of it is used."""
    while error is not None and not isinstance(error, ConnectionError):
        error = error.__cause__ or error.__context__
    return error is not None


def _refusal(error: Exception, revision: str | None) -> str:
    """Why the Hugging Face hub gave no bundle, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):
        if isinstance(error.__cause__, errors.HfHubHTTPError):  # it was reached, and had an error of its own
            return _refusal(error.__cause__, revision)
        return "the Hugging Face hub cannot be reached, nor is the model in its cache: go online, or give a folder"
    if isinstance(error, errors.GatedRepoError):
        return "on the Hugging Face hub it is gated: accept its terms there, and log in (hf auth login) or give a token"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the Hugging Face hub has no such model, or a private one: check the name, or log in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"on the Hugging Face hub it has no revision {revision!r}"
    return f"the Hugging Face hub did not give it ({_first_line(error)})"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
