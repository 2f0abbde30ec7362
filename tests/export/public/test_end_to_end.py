"""Each kind of public model with random weights, all the way: export, encode, index, search; two engines that agree."""

from __future__ import annotations

from pathlib import Path

import anserini  # tests/support/anserini.py
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from public_models import D2S, LINES, VDR, Dense, write_opensearch, write_vocabulary

from lexlip_export import ExportSettings, ImportOptions, export_bundle
from lexlip_infer import Index, LexLIPEncoder, encode_folder, encode_texts_file
from lexlip_infer.errors import BackendUnavailable, MissingExtra
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.vectors.sparse_batch import SparseBatch
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

QUERIES = ["a dog runs on green grass", "two boats on blue water"]
CAPTIONS = ["the dog on the beach", "a red boat, two men", "green grass", "a child plays with the blue ball near water"]


@pytest.fixture(scope="module", params=["vdr", "d2s on blip", "d2s on albef", "static"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("end_to_end")
    vocabulary = write_vocabulary(folder / "vocab.txt")
    settings, dense = ExportSettings(), None
    if request.param == "vdr":
        source = VDR(LINES).write(folder / "vdr")
    elif request.param == "static":
        source = write_opensearch(folder / "opensearch")
    else:
        source = D2S(len(LINES)).write(folder / "d2s")
        towers = Dense(len(LINES), albef="albef" in request.param)
        dense = towers.write_checkpoint(folder / "towers.pth")
        settings = ExportSettings(image_top_k=50)
    options = ImportOptions(tokenizer=vocabulary, dense=dense)
    export_bundle(source, folder / "bundle", settings, options=options)
    return folder / "bundle"


@pytest.fixture(scope="module")
def encoder(bundle: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(bundle, threads=1)


@pytest.fixture(scope="module")
def sources(encoder: LexLIPEncoder, photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the model has documents of: a folder of pictures, or a file of texts."""
    folder = tmp_path_factory.mktemp("sources")
    if encoder.manifest.image is None:
        (folder / "texts.txt").write_text("\n".join(CAPTIONS))
        return folder / "texts.txt"
    for number, image in enumerate(photographs):
        image.save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def documents(encoder: LexLIPEncoder, sources: Path) -> SparseBatch:
    if sources.is_file():
        return encoder.encode_document(CAPTIONS)
    return encoder.encode_images(sorted(sources.iterdir()))


def impacts(encoder: LexLIPEncoder, batch: SparseBatch) -> ImpactMatrix:
    """By the scale and the cap of the bundle."""
    defaults = encoder.manifest.quantisation
    return quantise(batch, QuantisationSettings(defaults.scale, defaults.cap))


def impact_products(encoder: LexLIPEncoder, documents: SparseBatch) -> npt.NDArray[np.int64]:
    """Dot products (Q, N) of impacts, of dense matrices."""
    matrices = [impacts(encoder, batch) for batch in (encoder.encode_query(QUERIES), documents)]
    dense = [np.zeros(matrix.shape, np.int64) for matrix in matrices]
    for matrix, filled in zip(matrices, dense, strict=True):
        filled[matrix.row_numbers, matrix.indices] = matrix.impacts
    return dense[0] @ dense[1].T


def test_encode_index_and_search(
    bundle: Path, encoder: LexLIPEncoder, sources: Path, documents: SparseBatch, tmp_path: Path
) -> None:
    encode = encode_texts_file if sources.is_file() else encode_folder
    done = encode(sources, tmp_path / "collection", model=bundle)
    assert done.documents == len(documents)
    index = Index.build(tmp_path / "collection", tmp_path / "index", threads=1)
    ids = [str(row) for row in range(1, 1 + len(documents))]
    if sources.is_dir():
        ids = [path.name for path in sorted(sources.iterdir())]
    expected = impact_products(encoder, documents)
    assert expected.max() > 0
    for query, scores in zip(QUERIES, expected, strict=True):
        found = {hit.id: hit.score for hit in index.search(query, k=len(ids))}
        assert found == {name: score for name, score in zip(ids, scores.tolist(), strict=True) if score > 0}


def test_impacts_rank_as_weights_do(encoder: LexLIPEncoder, documents: SparseBatch) -> None:
    """The scale leaves apart what weights keep apart."""
    exact = encoder.similarity(encoder.encode_query(QUERIES), documents)
    scores = impact_products(encoder, documents) / encoder.manifest.quantisation.scale**2
    np.testing.assert_allclose(scores, exact, rtol=0.03, atol=0.01 * exact.max())


def test_anserini_agrees_with_the_exact_engine(encoder: LexLIPEncoder, documents: SparseBatch, tmp_path: Path) -> None:
    try:
        anserini.check_installed()
    except (MissingExtra, BackendUnavailable) as error:
        pytest.skip(str(error))
    indexed, queries = impacts(encoder, documents), impacts(encoder, encoder.encode_query(QUERIES))
    terms = encoder.vocabulary.terms
    index = anserini.build_index(indexed, terms, tmp_path / "anserini")
    (found,) = anserini.search_in_new_process(index, queries, terms, [len(indexed)])
    anserini.assert_same_hits(ImpactIndex.build(indexed).search(queries, len(indexed)), found)
