"""Captions that lie beside their images: beach.txt is the caption of beach.jpg, and has the image's id."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.items import BadItem, TextItem
from lexlip_infer.inputs.readers.fetching import fetched
from lexlip_infer.inputs.readers.folder import is_image_name
from lexlip_infer.inputs.readers.passed_over import PassedOver
from lexlip_infer.inputs.readers.places import LocalPlace, RemotePlace
from lexlip_infer.inputs.readers.source import Source
from lexlip_infer.inputs.readers.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexlip_infer.inputs.readers.passed_over import PassedOver
from lexlip_infer.inputs.readers.places import Place

__all__ = ["CaptionFolder"]

#: Bytes of a caption file; more is no caption.
_LONGEST = 2**20


class CaptionFolder(Source[TextItem]):
    """Captions of the images below a folder, in the images' order; images without one are passed over.

    Args:
        root: the folder.
        prefix: of the ids.
    """

    ids_are_unique = True

    def __init__(self, root: Place, prefix: str = "") -> None:
        super().__init__()
        self.root, self._prefix = root, prefix

    def check(self) -> None:
        """Raise an InputError if no image has a caption."""
        if next(iter(self), None) is None:
            raise InputError(f"{self.root}: no captions; looked for a .txt file of the same name beside each image")

    def __iter__(self) -> Iterator[TextItem | BadItem]:
        """Sorted by id."""
        self.passed = PassedOver()
        images = ((self._prefix + found.path, found.place) for found in walk(self.root) if is_image_name(found.path))
        remote = isinstance(self.root, RemotePlace)
        for item in fetched(images, _caption) if remote else map(_caption, images):
            if item is None:
                self.passed.kinds["image without a .txt beside it"] += 1
            else:
                yield item


def _caption(image: tuple[str, Place]) -> TextItem | BadItem | None:
    identifier, place = image
    caption = _beside(place)
    try:
        if not caption.exists():
            return None
        with caption.open() as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            return BadItem(identifier, str(caption), f"larger than {_LONGEST >> 20} MiB")
        return TextItem(identifier, str(caption), data.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        return BadItem(identifier, str(caption), f"not UTF-8 ({error.reason} at byte {error.start}); convert it")
    except (OSError, InputError) as error:
        return BadItem(identifier, str(caption), str(error).removeprefix(f"{caption}: "))


def _beside(place: Place) -> Place:
    if isinstance(place, LocalPlace):
        return LocalPlace(place.path.with_suffix(".txt"))
    return RemotePlace(place.filesystem, str(PurePosixPath(place.path).with_suffix(".txt")))
