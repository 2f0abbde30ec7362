"""What the makers of weights say of their use: in the front matter of a README.md, or that they say nothing.

The words are theirs and are passed on as they stand. Nothing here knows what a licence allows.
"""

from __future__ import annotations

import re
from pathlib import Path

from lexlip_infer.files import MOST_JSON, read_regular
from lexlip_kernels.errors import BundleError

_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_FIELDS = ("license", "license_name", "license_link")


def licence_notice(folder: Path, what: str) -> str:
    """A sentence or two for people on the terms of weights that lie in a folder.

    Args:
        folder: that they come from.
        what: they are, and where from, as the start of a sentence.

    Raises:
        BundleError: the README.md beside them cannot be read.
    """
    stated = _stated(folder)
    files = sorted(path.name for path in folder.glob("LICEN[CS]E*") if path.is_file())
    if stated:
        said = f"The README.md beside them states: {stated}."
    elif files:
        said = f"Their terms are in {files[0]} beside them."
    else:
        said = "No licence of the weights is stated beside them: ask their makers before you use or share them."
    return f"{what} {said}"


def _stated(folder: Path) -> str:
    """The licence fields of a model card's front matter, in one line; nothing where there is none."""
    path = folder / "README.md"
    try:
        content = read_regular(path, MOST_JSON, refuse=lambda reason: BundleError(f"{path}: {reason}"))
    except FileNotFoundError:
        return ""
    except OSError as error:  # it may well state a licence
        raise BundleError(f"{path}: cannot be read ({error.strerror}); make it readable, or remove it") from None
    card = content.decode("utf-8", "replace")
    matter = _FRONT_MATTER.match(card.replace("\r\n", "\n"))
    lines = matter.group(1).split("\n") if matter else []
    pairs = [line.partition(":") for line in lines]
    found = [f"{name} {value.strip()}" for name, _, value in pairs if name in _FIELDS and value.strip()]
    return " ".join(", ".join(found)[:300].split())
