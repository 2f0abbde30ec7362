"""Zero-shot classification against its definition in dense vectors, and what class folders may look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexlip_infer import LexLIPEncoder
from lexlip_infer.datasets.class_folders import TEMPLATES, read_class_folders, read_templates
from lexlip_infer.errors import InputError
from lexlip_infer.evaluation.small_scale import Settings
from lexlip_infer.evaluation.zero_shot import class_vectors, classify, mean_per_class


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes with 7, 8 and 9 noisy images, more than a batch together."""
    generator = np.random.default_rng(3)
    for label, name in enumerate(["black_dog", "horse", "white_cat"]):
        (tmp_path / "data" / name / "deeper").mkdir(parents=True)
        for number in range(7 + label):
            folder = tmp_path / "data" / name / ("deeper" if number == 3 else ".")
            pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "data" / ".hidden").mkdir()
    (tmp_path / "data" / "horse" / "notes.txt").write_text("no image")
    return tmp_path / "data"


def test_folders(root: Path, tmp_path: Path) -> None:
    found = read_class_folders(root)
    assert found.names == ("black dog", "horse", "white cat")
    assert np.bincount(found.labels).tolist() == [7, 8, 9]
    assert found.ids()[6] == "black_dog/deeper/3.png"
    (tmp_path / "names").write_text("horse\ta brown horse\nblack_dog\tdog\nunused\tx\nwhite_cat\tcat\n")
    assert read_class_folders(root, tmp_path / "names").names == ("dog", "a brown horse", "cat")


def test_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "names").write_text("horse\tx\n")
    with pytest.raises(InputError, match="no name for the class folder 'black_dog'"):
        read_class_folders(root, tmp_path / "names")
    (tmp_path / "names").write_text("horse x\n")
    with pytest.raises(InputError, match=":1: expected FOLDER<TAB>NAME"):
        read_class_folders(root, tmp_path / "names")
    with pytest.raises(InputError, match="0 class folders; expected two or more"):
        read_class_folders(root / "black_dog" / "deeper")
    with pytest.raises(InputError, match="cannot be read"):
        read_class_folders(root / "none")
    (root / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no images of this class"):
        read_class_folders(root)


def test_templates(tmp_path: Path) -> None:
    assert all("{}" in template for template in TEMPLATES)
    (tmp_path / "t").write_text("a {}.\n\nthe {}\n")
    assert read_templates(tmp_path / "t") == ("a {}.", "the {}")
    (tmp_path / "t").write_text("a {}.\nthe {name}\n")
    with pytest.raises(InputError, match=":2: expected a template"):
        read_templates(tmp_path / "t")
    (tmp_path / "t").write_text("\n")
    with pytest.raises(InputError, match="no templates"):
        read_templates(tmp_path / "t")


def test_against_dense_vectors(encoder: LexLIPEncoder, root: Path) -> None:
    folders, templates = read_class_folders(root), ("a photo of a {}", "{} on the grass", "{}")
    classes = class_vectors(encoder, folders.names, templates)
    classes.validate()
    expected = []
    for name in folders.names:
        rows = encoder.encode_texts([t.replace("{}", name) for t in templates], top_k=150).to_dense()
        expected.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0))
    np.testing.assert_allclose(classes.to_dense(), expected, rtol=1e-5, atol=1e-7)

    found = classify(encoder, folders, classes, Settings(150, 150, 10_000.0))
    images = encoder.encode_images(folders.images, batch_size=16, top_k=150)
    scores = encoder.similarity(images, classes)
    own = scores[np.arange(len(scores)), folders.labels]
    assert found.full.tolist() == (1 + (scores > own[:, None]).sum(axis=1)).tolist()
    assert len(found.impacts) == 24
    assert len(set(found.full.tolist())) > 1


def test_mean_per_class_by_hand() -> None:
    hits = np.array([True, False, False, False, True])
    assert mean_per_class(hits, np.array([4, 4, 4, 4, 7])) == pytest.approx((1 / 4 + 1) / 2)
