"""What a user may choose about decoding, and that each choice does what it says and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from lexlip_infer.errors import ImageError, InputError
from lexlip_infer.inputs.image_options import ImageOptions
from lexlip_infer.inputs.images import load_image, truncation

if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[..., bytes]

RED = (255, 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "reddish"}, "background is 'reddish'; expected an opaque colour like white"),
        ({"background": "#ff000080"}, "expected an opaque colour"),
        ({"background": ""}, "expected an opaque colour"),
        ({"frames": "some"}, "frames is 'some'; expected first or all"),
        ({"truncated": "grey"}, "truncated is 'grey'; expected fail or accept"),
        ({"max_megapixels": 0}, "max_megapixels is 0; expected a number above 0"),
        ({"max_megapixels": float("nan")}, "max_megapixels is nan"),
        ({"max_megapixels": float("inf")}, "max_megapixels is inf"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageOptions(**options)


@pytest.mark.parametrize("colour", ["red", "#f00", "#FF0000", "rgb(255, 0, 0)", "hsl(0, 100%, 50%)"])
def test_background_colours(colour: str, encode: Encode) -> None:
    clear = encode(Image.new("RGBA", (3, 2), (0, 255, 0, 0)), "PNG")
    assert load_image(clear, ImageOptions(background=colour)).getcolors() == [(6, RED)]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "P", "PA"])
def test_background_shows_through_every_kind_of_transparency(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("LA" if mode == "La" else mode).convert(mode)
    if mode == "P":
        image.info["transparency"] = image.getpixel((0, 0))
    assert load_image(image, ImageOptions(background="red")).getcolors() == [(16, RED)]


class TestSizeLimit:
    def test_lower(self, encode: Encode) -> None:
        data = encode(Image.new("RGB", (101, 100)), "PNG")
        assert load_image(data, ImageOptions(max_megapixels=0.0101)).size == (101, 100)
        with pytest.raises(ImageError, match=r"101 x 100 pixels, more than 0\.01 megapixels"):
            load_image(data, ImageOptions(max_megapixels=0.01))

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "PPM"])
    def test_higher_than_pillows_without_touching_it(
        self, kind: str, encode: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
        assert load_image(encode(Image.new("RGB", (10, 10)), kind)).size == (10, 10)
        assert Image.MAX_IMAGE_PIXELS == 40

    def test_where_pillows_limit_cannot_be_passed_the_message_names_it(
        self, encode: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = encode(Image.new("RGB", (10, 10)), "WEBP")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
        with pytest.raises(ImageError, match=r"more than Pillow's own limit, PIL\.Image\.MAX_IMAGE_PIXELS"):
            load_image(data)


#: Formats whose rows are decoded one after the other, so that a part of the file is a part of the picture.
ROW_BY_ROW: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {"quality": 90}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("PPM", {}),
]


@pytest.fixture(scope="module")
def large() -> Image.Image:
    y, x = np.mgrid[0:200, 0:300]
    return Image.fromarray(np.stack([x % 250, y, (x * y) % 251], axis=2).astype(np.uint8))


class TestTruncated:
    ACCEPT = ImageOptions(truncated="accept", background="red")

    @pytest.mark.parametrize(("kind", "options"), ROW_BY_ROW)
    @pytest.mark.parametrize("part", [0.4, 0.8])
    def test_what_is_there_is_kept_and_the_rest_is_background(
        self, kind: str, options: dict[str, Any], part: float, large: Image.Image, encode: Encode
    ) -> None:
        data = encode(large, kind, **options)
        whole = np.asarray(load_image(data))
        image = load_image(data[: int(part * len(data))], self.ACCEPT)
        pixels = np.asarray(image)
        missing = (pixels == RED).all(axis=2)
        np.testing.assert_array_equal(pixels[~missing], whole[~missing])
        assert 0.05 < missing.mean() < 0.9
        note = truncation(image)
        assert note is not None
        assert note.startswith(f"{missing.mean():.0%} of the picture is missing")

    @pytest.mark.parametrize(("kind", "options"), ROW_BY_ROW)
    def test_refused_by_default(self, kind: str, options: dict[str, Any], large: Image.Image, encode: Encode) -> None:
        data = encode(large, kind, **options)
        with pytest.raises(ImageError, match="damaged image"):
            load_image(data[: len(data) // 2])

    @pytest.mark.parametrize(
        ("kind", "options"),
        [("JPEG", {"progressive": True}), ("WEBP", {}), ("JPEG2000", {}), ("AVIF", {}), ("PNG", {})],
    )
    def test_of_which_nothing_can_be_decoded(
        self, kind: str, options: dict[str, Any], large: Image.Image, encode: Encode
    ) -> None:
        data = encode(large, kind, **options)
        part = 100 if kind == "PNG" else len(data) // 2
        with pytest.raises(ImageError, match=r"nothing of it can be decoded|damaged image|not an image"):
            load_image(data[:part], self.ACCEPT)

    def test_a_whole_image_has_no_note(self, large: Image.Image, encode: Encode) -> None:
        assert truncation(load_image(encode(large, "PNG"), self.ACCEPT)) is None

    def test_a_file_cannot_forge_the_note(self, large: Image.Image, encode: Encode) -> None:
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text("truncated", "by me")
        assert truncation(load_image(encode(large, "PNG", pnginfo=text))) is None

    def test_orientation_turns_the_missing_part_too(self, large: Image.Image, encode: Encode) -> None:
        exif = Image.Exif()
        exif[0x0112] = 3
        data = encode(large, "JPEG", exif=exif)
        image = load_image(data[: len(data) // 2], self.ACCEPT)
        assert image.getpixel((0, 0)) == RED
        assert image.getpixel((299, 199)) != RED

    def test_alpha_of_the_missing_part(self, large: Image.Image, encode: Encode) -> None:
        image = large.copy()
        image.putalpha(255)
        data = encode(image, "PNG")
        result = load_image(data[: len(data) // 2], self.ACCEPT)
        assert result.getpixel((299, 199)) == RED
        assert result.getpixel((10, 0)) == large.getpixel((10, 0))

    def test_pillows_switch_is_left_alone(self, large: Image.Image, encode: Encode) -> None:
        data = encode(large, "JPEG")
        load_image(data[: len(data) // 2], self.ACCEPT)
        assert ImageFile.LOAD_TRUNCATED_IMAGES is False
        with pytest.raises(ImageError):
            load_image(data[: len(data) // 2])
