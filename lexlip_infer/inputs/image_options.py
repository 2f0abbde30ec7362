"""Which files are taken for images, and what a user may choose about decoding them; the rest is in docs/inputs.md.

Nothing is decoded here: settings and file lists are read without Pillow's codecs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from lexlip_infer.errors import InputError

#: Of the formats that are read (`image_files.FORMATS`) and of HEIF; not .pfm, whose floats have no defined range. A
#: suffix only decides which files of a folder are taken for images, never how one is decoded.
IMAGE_SUFFIXES = (
    ".apng", ".avif", ".avifs", ".bmp", ".gif", ".heic", ".heics", ".heif", ".heifs", ".hif", ".j2c", ".j2k", ".jfif",
    ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip

#: Larger images are refused before they are decoded: a small file may declare one that fills the memory.
MAX_MEGAPIXELS = 178

Frames = Literal["first", "all"]
Truncated = Literal["fail", "accept"]


def is_image_name(name: str) -> bool:
    """By suffix, in any case."""
    return name.lower().endswith(IMAGE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Options of decoding.

    Attributes:
        background: what transparent pixels show, and what is missing of an accepted truncated image: a CSS colour.
        frames: of an animation, its first frame, or every frame as an image of its own.
        truncated: "fail" refuses an image that breaks off; "accept" takes one of which any row could be decoded.
        max_megapixels: larger images are refused before they are decoded.

    Raises:
        InputError: one of them is not what it has to be.
    """

    background: str = "white"
    frames: Frames = "first"
    truncated: Truncated = "fail"
    max_megapixels: float = MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        _ = self.background_rgb
        for name, value, known in (("frames", self.frames, Frames), ("truncated", self.truncated, Truncated)):
            if value not in get_args(known):
                raise InputError(f"{name} is {value!r}; expected {' or '.join(get_args(known))}")
        if not 0 < self.max_megapixels < float("inf"):
            raise InputError(f"max_megapixels is {self.max_megapixels}; expected a number above 0")

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0-255."""
        rgb = _parse(self.background)
        if rgb is None or len(rgb) != 3:
            raise InputError(
                f"background is {self.background!r}; expected an opaque colour like white, #ff8800 or rgb(255,136,0)"
            )
        return rgb


def _parse(colour: str) -> tuple[int, int, int] | tuple[int, int, int, int] | None:
    if colour == "white":  # the default, known without Pillow: who reads settings decodes nothing
        return 255, 255, 255
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(colour)
    except (ValueError, AttributeError):
        return None


DEFAULT_OPTIONS = ImageOptions()
