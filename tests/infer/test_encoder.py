"""LexLIPEncoder: what goes in, what comes out in which order, and what is refused in one line."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dense_rows import near
from PIL import Image

from lexlip_infer import BundleError, ImageError, InputError, LexLIPEncoder, SparseBatch
from lexlip_infer.bundle import Bundle
from lexlip_infer.inputs.images import ImageSource, load_image


class TestImages:
    def test_every_kind_of_image(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        with Image.open(paths[1]) as opened:
            mixed: list[ImageSource] = [
                str(paths[0]),
                opened,
                paths[2].read_bytes(),
                np.asarray(load_image(paths[3])),
                paths[4],
            ]
            found = encoder.encode_images(mixed, batch_size=2, top_k=150)
        alone = [encoder.encode_images([path], top_k=150) for path in paths]
        found.validate()
        assert near(found, SparseBatch.concatenate(alone))
        assert not near(found, SparseBatch.concatenate(alone[::-1]))

    def test_defaults(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        found = encoder.encode_images(paths)
        assert np.diff(found.indptr).tolist() == [encoder.manifest.top_k.image] * len(paths)
        assert found.vocab_size == encoder.manifest.vocab_size
        assert near(found, encoder.encode_document(paths))

    @pytest.mark.parametrize("empty", [[], (), iter([])])
    def test_nothing(self, empty: Any, encoder: LexLIPEncoder) -> None:
        found = encoder.encode_images(empty)
        assert (len(found), found.nnz, found.vocab_size) == (0, 0, 150)

    @pytest.mark.parametrize("top_k", [1, 7, 150, 10_000])
    def test_top_k(self, top_k: int, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        whole = encoder.encode_images(paths, top_k=150).to_dense()
        for row, dense in enumerate(encoder.encode_images(paths, top_k=top_k).to_dense()):
            best = np.sort(whole[row])[::-1][:top_k]
            np.testing.assert_allclose(np.sort(dense)[::-1][:top_k], best, atol=1e-5)
            assert (dense > 0).sum() == (best > 0).sum()

    def test_generator(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        assert near(encoder.encode_images(path for path in paths), encoder.encode_images(paths))

    def test_a_stream_is_consumed_as_it_is_asked_for(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        taken = 0

        def endless() -> Iterator[Path]:
            nonlocal taken
            while True:
                taken += 1
                yield paths[taken % 5]

        stream = encoder.iter_encode_images(endless(), batch_size=3)
        assert taken == 0
        for batch_number in range(1, 4):
            assert len(next(stream)) == 3
            assert taken < 3 * batch_number + 6
        stream.close()  # type: ignore[attr-defined]

    @pytest.mark.parametrize("kind", ["path", "text", "url", "bytes", "BytesIO", "file", "Pillow", "array"])
    def test_a_single_image(self, kind: str, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        path = paths[2]
        with path.open("rb") as file, Image.open(path) as picture:
            one = {
                "path": path,
                "text": str(path),
                "url": path.resolve().as_uri(),
                "bytes": path.read_bytes(),
                "BytesIO": io.BytesIO(path.read_bytes()),
                "file": file,
                "Pillow": picture,
                "array": np.asarray(load_image(path)),
            }[kind]
            found = encoder.encode_images(one, show_progress_bar=True)  # type: ignore[arg-type]
        assert near(found, encoder.encode_images([path]))
        assert near(next(encoder.iter_encode_images(path)), found)

    def test_an_url_of_another_store(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        fsspec = pytest.importorskip("fsspec", reason="pip install 'lexlip-infer[io]'")
        with fsspec.open("memory://photographs/a.jpg", "wb") as file:
            file.write(paths[0].read_bytes())
        assert near(encoder.encode_images("memory://photographs/a.jpg"), encoder.encode_images(paths[0]))
        with pytest.raises(ImageError, match=r"images\[0\]: memory:.*b\.jpg: .*read"):
            encoder.encode_images("memory://photographs/b.jpg")

    def test_files_that_are_no_image_files(self, encoder: LexLIPEncoder, tmp_path: Path) -> None:
        closed = io.BytesIO(b"GIF89a")
        closed.close()
        for file, said in (
            (io.StringIO("GIF89a"), "the given StringIO gives str; open the image file in binary mode"),
            (io.BytesIO(), r"the given BytesIO: the file is empty \(0 bytes\)"),
            (io.BytesIO(b"text"), "the given BytesIO: not an image"),
            (closed, "the given BytesIO: cannot be read"),
        ):
            with pytest.raises(ImageError, match=said):
                encoder.encode_images(file)  # type: ignore[arg-type]

    @pytest.mark.parametrize("nothing", [None, 7])
    def test_neither_an_image_nor_several(self, nothing: Any, encoder: LexLIPEncoder) -> None:
        expected = f"{type(nothing).__name__} was given; expected a text or an image, or an iterable of them"
        for encode in (encoder.encode_images, encoder.encode_texts):
            with pytest.raises(InputError, match=expected):
                encode(nothing)

    def test_one_array_of_several_images(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        stack = np.stack([np.asarray(load_image(path).resize((9, 8))) for path in paths])
        assert near(encoder.encode_images(stack), encoder.encode_images(list(stack)))

    @pytest.mark.parametrize(("options", "said"), [
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"top_k": 0}, "top_k is 0; expected at least 1, or nothing for the model's default 24"),
        ({"top_k": -1}, "top_k is -1"),
    ])  # fmt: skip
    def test_numbers(self, options: dict[str, Any], said: str, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        for images in (paths, []):
            with pytest.raises(InputError, match=said):
                encoder.encode_images(images, **options)

    def test_a_failed_image_is_named(self, encoder: LexLIPEncoder, paths: list[Path], tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"^images\[4\]: .*none\.jpg: cannot be read \(No such file"):
            encoder.encode_images([*paths[:4], tmp_path / "none.jpg"], batch_size=2)
        with pytest.raises(ImageError, match=r"^images\[3\]: the given bytes: not an image"):
            list(encoder.iter_encode_images([*paths[:3], b"text"], batch_size=1))
        with pytest.raises(ImageError, match=r"^images\[0\]: .* not NoneType"):
            encoder.encode_images([None])  # type: ignore[list-item]

    def test_pixels(self, encoder: LexLIPEncoder, paths: list[Path]) -> None:
        pixels = np.stack([encoder.preprocess(load_image(path)) for path in paths])
        assert near(encoder.encode_pixels(pixels), encoder.encode_images(paths))
        wrong: Any
        for wrong in (pixels[0], pixels[:, :, :32], pixels.astype(np.float64), pixels.transpose(0, 2, 3, 1)):
            with pytest.raises(InputError, match=r"expected \(B, 3, 64, 64\) float32"):
                encoder.encode_pixels(wrong)


class TestTexts:
    TEXTS = ("a dog", "", "two children play football on a sunny beach " * 4, "a \ud83d b")

    def test_order(self, encoder: LexLIPEncoder) -> None:
        alone = [encoder.encode_texts([text], top_k=150) for text in self.TEXTS]
        for batch_size in (1, 2, 32):
            found = encoder.encode_query(self.TEXTS, batch_size, top_k=150)
            found.validate()
            assert near(found, SparseBatch.concatenate(alone))

    def test_top_k(self, encoder: LexLIPEncoder) -> None:
        assert np.diff(encoder.encode_texts(["a dog"], top_k=3).indptr).tolist() == [3]
        assert np.diff(encoder.encode_texts(["a dog"]).indptr).tolist() == [encoder.manifest.top_k.text]

    def test_nothing(self, encoder: LexLIPEncoder) -> None:
        assert len(encoder.encode_texts([])) == 0

    def test_a_single_text(self, encoder: LexLIPEncoder) -> None:
        found = encoder.encode_query("a dog")
        assert len(found) == 1
        for same in (encoder.encode_texts(["a dog"]), encoder.encode_texts(np.array(["a dog"]))):
            np.testing.assert_array_equal(found.to_dense(), same.to_dense())
        assert near(next(encoder.iter_encode_texts("a dog")), found)

    def test_cut_texts_are_counted_aloud(self, encoder: LexLIPEncoder, caplog: pytest.LogCaptureFixture) -> None:
        longest = encoder.manifest.text.max_length  # type: ignore[union-attr]
        encoder.encode_texts(["a dog " * 100, "a dog", "two cats " * 100], batch_size=2)
        assert caplog.messages == [f"2 of 3 texts are longer than {longest} tokens and were cut to that"]
        caplog.clear()
        encoder.encode_texts(["a dog"])
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("options", "said"), [({"batch_size": 0}, "batch_size is 0"), ({"top_k": 0}, "top_k is 0")]
    )
    def test_numbers(self, options: dict[str, Any], said: str, encoder: LexLIPEncoder) -> None:
        with pytest.raises(InputError, match=said):
            encoder.encode_texts(["a dog"], **options)

    def test_not_a_text(self, encoder: LexLIPEncoder) -> None:
        with pytest.raises(InputError, match="a text must be a str, not int"):
            encoder.encode_texts(["a dog", 3])  # type: ignore[list-item]


class TestOneTower:
    """A text model such as SPLADE: its documents are texts."""

    def test_documents_are_what_the_bundle_encodes(self, bundle_folder: Path) -> None:
        bundle = Bundle.open(bundle_folder)
        manifest = bundle.manifest.model_copy(update={"image": None})
        encoder = LexLIPEncoder(Bundle(bundle.folder, manifest, bundle.fingerprint))
        assert near(encoder.encode_document(["a dog", "a cat"]), encoder.encode_texts(["a dog", "a cat"]))
        assert len(encoder.encode_document("a dog")) == 1
        with pytest.raises(BundleError, match="has no image tower"):
            encoder.encode_images("a.jpg")


class TestProgress:
    @pytest.mark.parametrize(("show", "expected"), [(True, True), (False, False), (None, False)])
    def test_bar(
        self, show: bool | None, expected: bool, encoder: LexLIPEncoder, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with_bar = encoder.encode_texts(["a dog", "a cat"], show_progress_bar=show)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("encoding texts" in captured.err) is expected
        assert near(with_bar, encoder.encode_texts(["a dog", "a cat"], show_progress_bar=False))

    def test_generators_have_no_total(self, encoder: LexLIPEncoder, capsys: pytest.CaptureFixture[str]) -> None:
        assert len(encoder.encode_texts((text for text in ["a", "b"]), show_progress_bar=True)) == 2
        assert "encoding texts" in capsys.readouterr().err


def batch_of(rows: list[dict[int, float]], vocab_size: int = 150) -> SparseBatch:
    dense = np.zeros((len(rows), vocab_size), np.float32)
    for row, weights in enumerate(rows):
        for term, weight in weights.items():
            dense[row, term] = weight
    row_of, term_of = dense.nonzero()
    indptr = np.concatenate([[0], np.cumsum((dense > 0).sum(axis=1))])
    return SparseBatch(indptr, term_of.astype(np.int32), dense[row_of, term_of], vocab_size)


class TestSimilarityAndDecode:
    A: tuple[dict[int, float], ...] = ({3: 3.0, 7: 4.0}, {}, {7: 1e-6}, {0: 300.0, 7: 2.0})
    B: tuple[dict[int, float], ...] = ({7: 2.0}, {3: 1.0, 9: 5.0}, {}, {0: 1e-6, 1: 1e-6})

    @pytest.mark.parametrize("similarity", ["cosine", "dot"])
    def test_brute_force(self, similarity: str, bundle_folder: Path) -> None:
        bundle = Bundle.open(bundle_folder)
        manifest = bundle.manifest.model_copy(update={"similarity": similarity})
        encoder = LexLIPEncoder(Bundle(bundle.folder, manifest, bundle.fingerprint))
        found = encoder.similarity(batch_of([*self.A]), batch_of([*self.B]))
        assert found.shape == (4, 4)
        assert found.dtype == np.float32
        for i, a in enumerate(self.A):
            for j, b in enumerate(self.B):
                score = math.fsum(a[term] * b[term] for term in a.keys() & b.keys())
                norm = math.hypot(*a.values()) * math.hypot(*b.values()) if similarity == "cosine" else 1
                assert found[i, j] == pytest.approx(score / norm if score else 0, rel=1e-5), (i, j)

    def test_with_nothing(self, encoder: LexLIPEncoder) -> None:
        assert encoder.similarity(batch_of([]), batch_of([*self.B])).shape == (0, 4)

    def test_other_vocabulary(self, encoder: LexLIPEncoder) -> None:
        with pytest.raises(InputError, match="vectors over 150 and over 9 terms; encode both with one model"):
            encoder.similarity(batch_of([{1: 1.0}]), batch_of([{1: 1.0}], 9))

    def test_decode(self, encoder: LexLIPEncoder) -> None:
        terms = encoder.vocabulary.terms
        batch = batch_of([{3: 1.0, 7: 4.0, 5: 4.0}, {}])
        whole = [(terms[5], 4.0), (terms[7], 4.0), (terms[3], 1.0)]
        assert encoder.decode(batch) == [whole, []]
        assert encoder.decode(batch, top_k=2) == [whole[:2], []]
        assert encoder.decode(batch, top_k=99) == [whole, []]


def test_threads_change_nothing(bundle_folder: Path, encoder: LexLIPEncoder, paths: list[Path]) -> None:
    two_threads = LexLIPEncoder.from_pretrained(bundle_folder, threads=2)
    assert near(two_threads.encode_images(paths), encoder.encode_images(paths))
