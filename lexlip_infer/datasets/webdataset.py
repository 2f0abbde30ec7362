"""Shards of captioned photographs in webdataset's naming: `000017.jpg` with `000017.txt`, or `.json` with captions.

Read as `lexlip-encode` reads shards: what is damaged, cut or joined is no end. Of several images of a sample the
photograph is the one of a single suffix, 017.jpg beside 017.seg.png; two of them are an error here, since a caption
learnt for the wrong one would never be noticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lexlip_infer.datasets.captioned_images import CaptionedImage
from lexlip_infer.errors import InputError
from lexlip_infer.inputs.image_options import is_image_name
from lexlip_infer.inputs.lines import LONGEST
from lexlip_infer.inputs.readers.places import LocalPlace
from lexlip_infer.inputs.readers.source import PassedOver
from lexlip_infer.inputs.readers.tar_archive import Member, Sample, samples

_CAPTIONS = frozenset({"txt", "json"})
_EXPECTED = 'expected an uncompressed tar of samples such as 017.jpg with 017.txt, or 017.json that has a "caption"'


def read_shard(shard: Path) -> Iterator[CaptionedImage]:
    """Samples that have an image and a caption, in the archive's order; offsets are within the archive.

    Raises:
        InputError: the archive cannot be read, is compressed, damaged or cut, holds no such sample, or one of which
            several images could be the photograph.
    """
    found = False
    try:
        for sample in samples(LocalPlace(shard), _is_image, _CAPTIONS, LONGEST, PassedOver(), in_place=True):
            captions = _captions(sample)
            if captions and sample.image is not None:
                found = True
                image = _photograph(sample)
                yield CaptionedImage(str(shard), captions, image.offset, image.size)
    except InputError as error:
        raise InputError(f"{shard}: {str(error).removeprefix(f'{shard}: ')}; {_EXPECTED}") from None
    if not found:
        raise InputError(f"{shard}: no sample has both an image and a caption; {_EXPECTED}")


def _is_image(field: str) -> bool:
    return is_image_name(f".{field}")


def _photograph(sample: Sample) -> Member:
    assert sample.image is not None
    images = [field for field in sample.fields if _is_image(field)]
    rivals = [field for field in images if "." not in field] or images
    if len(rivals) > 1:
        names = " and ".join(sample.fields[field].name for field in rivals)
        raise InputError(f"{names} could both be the image of one sample; give the others a name such as .mask.png")
    return sample.fields[sample.image]


def _captions(sample: Sample) -> tuple[str, ...]:
    """Those of the first member that has any."""
    for field, member in sample.fields.items():
        if field in _CAPTIONS and (captions := _captions_in(field, member)):
            return captions
    return ()


def _captions_in(field: str, member: Member) -> tuple[str, ...]:
    if member.data is None:
        raise InputError(f"the caption {member.name} has more than {LONGEST >> 20} MiB")
    try:
        text = member.data.decode("utf-8-sig")
        content = json.loads(text) if field == "json" else text
    except (ValueError, RecursionError) as error:
        raise InputError(f"the caption {member.name} is malformed ({error})") from None
    if isinstance(content, dict):
        content = content.get("captions", content.get("caption"))
    captions = [content] if isinstance(content, str) else content
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        return ()
    return tuple(caption.strip() for caption in captions if caption.strip())
