"""Images or captions of tar shards. An item's id is its sample's key, or a field of the sample's .json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from lexlip_infer.errors import InputError
from lexlip_infer.inputs.image_options import is_image_name
from lexlip_infer.inputs.items import BadItem, ImageItem, TextItem
from lexlip_infer.inputs.lines import LONGEST
from lexlip_infer.inputs.readers.checked_ids import identifier_of
from lexlip_infer.inputs.readers.places import MAX_FILE_BYTES, Place, too_large
from lexlip_infer.inputs.readers.source import Files, PassedOver, Source
from lexlip_infer.inputs.readers.tar_archive import Member, Sample, samples

if TYPE_CHECKING:
    from collections.abc import Iterator


Item = TypeVar("Item", bound=ImageItem | TextItem)

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class _Shards(Source[Item]):
    """What both kinds share: shards one after the other, a broken one in one line, ids.

    Args:
        files: the shards.
        id_column: field of each sample's .json that holds the id; the key when absent.
    """

    _what = ""
    _others = frozenset[str]()

    def __init__(self, files: Files, id_column: str | None) -> None:
        super().__init__(files)
        self._id_column = id_column

    def check(self) -> None:
        """Raise an InputError if there is nothing to take, or the first shard breaks off before it."""
        first = next(self._samples(), None)
        if isinstance(first, BadItem):
            raise InputError(f"{first.origin}: {first.error}")
        if first is None:
            raise InputError(f"{self.files}: no {self._what}s; saw {self.passed.kinds_seen() or 'nothing at all'}")

    def _samples(self) -> Iterator[tuple[Place, Sample] | BadItem]:
        self.passed = PassedOver()
        return self.files.read_each(self._samples_of)

    def _samples_of(self, _: str, place: Place) -> Iterator[tuple[Place, Sample]]:
        others = self._others if self._id_column is None else self._others | {"json"}
        found = samples(place, self._is_image, others, MAX_FILE_BYTES, self.passed)
        return ((place, sample) for sample in found)

    def _is_image(self, field: str) -> bool:  # noqa: ARG002  (texts have none)
        return False

    def _identifier(self, sample: Sample) -> str:
        if self._id_column is None:
            return sample.key
        return identifier_of(_json(sample).get(self._id_column), self._id_column)


class TarImages(_Shards[ImageItem]):
    """Images of shards.

    Args:
        files: the shards.
        id_column: see `_Shards`.
        image_column: field that holds the image, such as "input.jpg"; every image when absent.
    """

    _what = "image"

    def __init__(self, files: Files, id_column: str | None, image_column: str | None) -> None:
        super().__init__(files, id_column)
        self._column = image_column.lower() if image_column else None

    def _is_image(self, field: str) -> bool:
        return field == self._column if self._column else is_image_name(f".{field}")

    def __iter__(self) -> Iterator[ImageItem | BadItem]:
        for found in self._samples():
            if isinstance(found, BadItem):
                yield found
                continue
            place, sample = found
            for field, member in sample.fields.items():
                if self._is_image(field):
                    yield from self._items(sample, field, member, f"{place}:{member.name}")

    def _items(self, sample: Sample, field: str, member: Member, origin: str) -> Iterator[ImageItem | BadItem]:
        assert sample.image is not None
        if "." in field and "." not in sample.image:  # 017.seg.png beside 017.jpg
            self.passed.add(member.name)
            return
        try:
            identifier = self._identifier(sample)
        except InputError as error:
            yield BadItem(sample.key, origin, str(error))
            return
        if field != sample.image:
            taken = sample.fields[sample.image].name
            yield BadItem(identifier, origin, f"{taken} is the sample's image already; name one with --image-column")
        elif member.data is None:
            yield BadItem(identifier, origin, too_large(MAX_FILE_BYTES))
        else:
            yield ImageItem(identifier, origin, member.data, member.size)


class TarTexts(_Shards[TextItem]):
    """Captions of shards: the .txt of each sample, or a field of its .json.

    Args:
        files: the shards.
        id_column: see `_Shards`.
        text_column: field of the .json; the .txt member when absent.
    """

    _what = "text"

    def __init__(self, files: Files, id_column: str | None, text_column: str | None) -> None:
        super().__init__(files, id_column)
        self._column = text_column
        self._content = "json" if text_column else "txt"
        self._others = frozenset({self._content})

    def __iter__(self) -> Iterator[TextItem | BadItem]:
        for found in self._samples():
            if isinstance(found, BadItem):
                yield found
            elif self._content in found[1].fields:
                yield self._item(*found)

    def _item(self, place: Place, sample: Sample) -> TextItem | BadItem:
        origin = f"{place}:{sample.key}"
        try:
            return TextItem(self._identifier(sample), origin, self._text(sample))
        except InputError as error:
            return BadItem(sample.key, origin, str(error))

    def _text(self, sample: Sample) -> str:
        text = _json(sample).get(self._column) if self._column else _utf_8(sample.fields["txt"]).strip()
        if not isinstance(text, str):
            raise InputError(f"the .json of the sample has no text under {self._column!r}")
        return text


def _json(sample: Sample) -> dict[str, Any]:
    if "json" not in sample.fields:
        raise InputError("the sample has no .json, which was to hold its id or text")
    try:
        row = json.loads(_utf_8(sample.fields["json"]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"the .json of the sample is malformed ({error})") from None
    if not isinstance(row, dict):
        raise InputError("the .json of the sample is not an object")
    return row


def _utf_8(member: Member) -> str:
    if member.data is None:
        raise InputError(f"{member.name} is larger than {LONGEST >> 20} MiB, the most that is read of a text")
    try:
        return member.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
