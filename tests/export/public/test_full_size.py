"""Parity at the published sizes. It takes minutes and 5 GB of memory, so it runs only where somebody asks for it:

LEXLIP_FULL_SIZE=1 LEXLIP_DATA=FOLDER pytest -s tests/export/public/test_full_size.py

FOLDER holds bert-base-uncased/vocab.txt. Figures are printed: the largest error of a row, as a share of its largest
value, and whether the kept terms are the same.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from PIL import Image
from public_models import D2S, VDR, Dense, token_ids

from lexlip_export import ImportOptions, export_bundle
from lexlip_infer import LexLIPEncoder
from lexlip_infer.vectors.sparse_batch import SparseBatch

pytestmark = pytest.mark.skipif(
    "LEXLIP_FULL_SIZE" not in os.environ, reason="LEXLIP_FULL_SIZE is not set: minutes, and 5 GB of memory"
)

TEXTS = ["A dog runs on green grass.", "two men in a red boat near the beach, and a small white bird above the water"]
PARAMETERS, TERMS = 217_562_112, "d307a1822e8f269f9cae9d5819371f6eed0f83e372e5026e102d933d7d395c86"

Array = npt.NDArray[np.float32]


class Expected(NamedTuple):
    """Of a reference: of the photographs, then of `TEXTS`.

    Attributes:
        hidden: a matrix each.
        vectors: (V,) each, of all terms.
    """

    hidden: list[Array]
    vectors: list[Array]


@pytest.fixture(scope="module")
def vocabulary(data: Path) -> Path:
    return data / "bert-base-uncased" / "vocab.txt"


def test_vdr(vocabulary: Path, photographs: list[Image.Image], tmp_path: Path) -> None:
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    reference = VDR(lines, full=True)
    assert sum(values.numel() for values in reference.parameters()) == PARAMETERS
    assert hashlib.sha256(",".join(map(str, reference.terms)).encode()).hexdigest() == TERMS
    ids = [token_ids(text, reference.max_length, lines) for text in TEXTS]
    every = len(reference.terms)
    hidden = [reference.image_hidden(image).numpy() for image in photographs]
    hidden += [reference.text_hidden(row).numpy() for row in ids]
    vectors = [reference.image_vector(image, every) for image in photographs]
    vectors += [reference.text_vector(row, every) for row in ids]
    folder = reference.write(tmp_path / "vdr")
    terms = {term: row for row, term in enumerate(reference.terms)}
    own = [{terms[token] for token in row if token in terms} for row in ids]
    del reference
    export_bundle(folder, tmp_path / "bundle", options=ImportOptions(tokenizer=vocabulary))
    check(tmp_path / "bundle", photographs, Expected(hidden, vectors), own)


@pytest.mark.parametrize("albef", [False, True])
def test_d2s(vocabulary: Path, photographs: list[Image.Image], albef: bool, tmp_path: Path) -> None:
    lines = vocabulary.read_text(encoding="utf-8").splitlines()
    dense, head = Dense(len(lines), albef=albef, full=True), D2S(len(lines), width=768, dense_size=256)
    cleaned = [text.lower().replace(".", " ") for text in TEXTS]
    units = [dense.image(image) for image in photographs]
    units += [dense.text(token_ids(text, Dense.length, lines)) for text in cleaned]
    expected = Expected([head.hidden(unit)[None].numpy() for unit in units], [head.weights(unit) for unit in units])
    options = ImportOptions(tokenizer=vocabulary, dense=dense.write_checkpoint(tmp_path / "towers.pth"))
    folder = head.write(tmp_path / "d2s")
    del dense, head
    export_bundle(folder, tmp_path / "bundle", options=options)
    check(tmp_path / "bundle", photographs, expected, [set() for _ in TEXTS])


def check(bundle: Path, photographs: list[Image.Image], expected: Expected, own: list[set[int]]) -> None:
    """Compare hidden states, all weights, the kept terms and scores; `own` are terms of a text that are always kept."""
    encoder, images = LexLIPEncoder.from_pretrained(bundle, threads=1), len(photographs)
    pixels = np.stack([encoder.preprocess(image) for image in photographs])
    found = [*_hidden(encoder, "image", pixel_values=pixels)]
    ids, mask = encoder.tokenize(TEXTS)
    assert encoder.manifest.text is not None
    if encoder.manifest.text.admit_padding:
        more = ((0, 0), (0, encoder.manifest.text.max_length - ids.shape[1]))
        ids, mask = np.pad(ids, more), np.pad(mask, more)
    found += [*_hidden(encoder, "text", input_ids=ids, attention_mask=mask)]
    everything = encoder.manifest.vocab_size
    vectors = [*encoder.encode_images(photographs, top_k=everything).to_dense()]
    vectors += [*encoder.encode_texts(TEXTS, top_k=everything).to_dense()]
    kept = [encoder.encode_images(photographs), encoder.encode_texts(TEXTS)]
    wanted = [_kept(row, encoder.manifest.top_k.image, set()) for row in expected.vectors[:images]]
    texts = zip(expected.vectors[images:], own, strict=True)
    wanted += [_kept(row, encoder.manifest.top_k.text, terms) for row, terms in texts]
    errors = {
        "hidden states": _error(found, expected.hidden),
        "weights": _error(vectors, expected.vectors),
        "scores": _error(
            [*encoder.similarity(kept[1], kept[0])], [*(np.stack(wanted[images:]) @ np.stack(wanted[:images]).T)]
        ),
    }
    print(f"\n{encoder.manifest.name}:", ", ".join(f"{what} {error:.1e}" for what, error in errors.items()))
    assert max(errors.values()) < 1e-4
    for row, (ours, theirs) in enumerate(zip(_rows(kept), wanted, strict=True)):
        lightest = theirs[theirs > 0].min()
        tied = np.abs(expected.vectors[row] - lightest) < 1e-5 * lightest
        assert (((ours > 0) == (theirs > 0)) | tied).all()
    print(f"kept terms are the same: {[int((row > 0).sum()) for row in wanted]}")


def _hidden(encoder: LexLIPEncoder, modality: str, **inputs: npt.NDArray[np.generic]) -> Array:
    session = onnxruntime.InferenceSession(encoder.bundle.read(f"onnx/{modality}_backbone.onnx"))
    return np.asarray(session.run(["hidden"], inputs)[0])


def _rows(batches: list[SparseBatch]) -> list[Array]:
    return [row for batch in batches for row in batch.to_dense()]


def _kept(weights: Array, top_k: int, own: set[int]) -> Array:
    heaviest = np.zeros(len(weights), bool)
    heaviest[np.argsort(-weights, kind="stable")[:top_k]] = True
    heaviest[list(own)] = True
    return np.where(heaviest, weights, 0)


def _error(found: list[Array], expected: list[Array]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(ours - theirs).max() / np.abs(theirs).max()) for ours, theirs in pairs)
