"""Class-folder data sets, and how classes are put into words: ROOT/CLASS/image, names, prompt templates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.image_options import is_image_name
from lexlip_infer.inputs.lines import read_lines
from lexlip_infer.inputs.readers.patterns import walk
from lexlip_infer.inputs.readers.places import LocalPlace

#: Photographs, said in several ways; after the templates that CLIP was evaluated with.
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a photo of a small {}.",
    "a photo of a large {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
)


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """N images in C classes.

    Attributes:
        root: the folder that was read.
        names: (C,), of the classes, in the order of their folders.
        images: (N,), paths.
        labels: (N,), the row of each image's class.
    """

    root: Path
    names: tuple[str, ...]
    images: tuple[Path, ...]
    labels: npt.NDArray[np.int64]

    def ids(self) -> list[str]:
        """Paths below the root."""
        return [path.relative_to(self.root).as_posix() for path in self.images]


def read_class_folders(root: Path, names: Path | None = None) -> ClassFolders:
    """List a folder of class folders, sorted by name; images may lie deeper, hidden ones are passed over.

    Args:
        root: the folder.
        names: a file of lines `folder<TAB>name`; without it a folder's name counts, underscores as blanks.

    Raises:
        InputError: there is no such folder, it has fewer than two classes, a class has no image or no name, or the
            names are malformed.
    """
    folders = _folders(root)
    given = None if names is None else _read_names(names)
    if given is not None and (missing := [folder.name for folder in folders if folder.name not in given]):
        raise InputError(f"{names}: no name for the class folder {missing[0]!r}; expected a line FOLDER<TAB>NAME")
    images: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = [folder / f.path for f in walk(LocalPlace(folder)) if f.kind == "file" and is_image_name(f.path)]
        if not found:
            raise InputError(f"{folder}: no images of this class; remove the folder or fill it")
        images += found
        labels += [label] * len(found)
    words = [folder.name.replace("_", " ") if given is None else given[folder.name] for folder in folders]
    return ClassFolders(root, tuple(words), tuple(images), np.array(labels))


def _folders(root: Path) -> list[Path]:
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror}); expected a folder of class folders") from None
    if len(folders) < 2:
        raise InputError(f"{root}: {len(folders)} class folders; expected two or more, ROOT/CLASS/image.jpg")
    return folders


def _read_names(file: Path) -> dict[str, str]:
    names = {}
    for number, line in read_lines(file):
        folder, tab, name = line.partition("\t")
        if not tab or not name.strip():
            raise InputError(f"{file}:{number}: expected FOLDER<TAB>NAME, found {line[:80]!r}")
        names[folder] = name.strip()
    return names


def read_templates(file: Path) -> tuple[str, ...]:
    """Prompt templates, one a line, each with `{}` where the class goes.

    Raises:
        InputError: the file cannot be read, is empty, or a line has no `{}`.
    """
    templates = []
    for number, line in read_lines(file):
        if "{}" not in line:
            raise InputError(
                f"{file}:{number}: expected a template with {{}} where the class goes, found {line[:80]!r}"
            )
        templates.append(line.strip())
    if not templates:
        raise InputError(f"{file}: no templates; expected one a line, such as 'a photo of a {{}}.'")
    return tuple(templates)
