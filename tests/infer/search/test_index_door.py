"""`Index` as a stranger would use it: everything through `lexlip_infer` and files."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexlip_infer import (
    Collection,
    Hit,
    ImageError,
    Index,
    InputError,
    LexLIPEncoder,
    OutputError,
    SparseBatch,
    encode_folder,
)
from lexlip_infer.search.registry import ENGINES, build_index, find_engine

ROOT = Path(__file__).parents[3]
NAMES = ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]


@pytest.fixture(scope="module")
def output(bundle_folder: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("door") / "out"
    encode_folder(photographs, folder, model=bundle_folder, top_k=150, threads=1, decode_workers=0)
    return folder


def test_a_collection_is_indexed_as_its_path_is(output: Path, index: Index, tmp_path: Path) -> None:
    collection = Collection.open(output)
    assert repr(collection).startswith("Collection(RunManifest(random: 5 documents, 0 failed, complete) in ")
    built = Index.build(collection, tmp_path / "idx", threads=1)
    assert ids(built.search("a dog")) == ids(index.search("a dog"))
    with pytest.raises(InputError, match="already"):
        built.append(collection)


@pytest.fixture(scope="module")
def index(output: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index.build(output, tmp_path_factory.mktemp("door") / "idx", threads=1)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_a_folder_becomes_an_index_that_goes_with_the_object(bundle_folder: Path, photographs: Path) -> None:
    with Index.from_images(photographs, model=bundle_folder, threads=1, top_k=150) as index:
        assert (len(index), index.documents, index.engine, index.failures) == (5, 5, "exact", ())
        hits = index.search("a dog", k=3)
        assert [hit.rank for hit in hits] == [1, 2, 3]
        for hit in hits:
            assert hit.path == photographs / hit.id
            assert hit.path.is_file()
            assert isinstance(hit.score, int)
            assert sum(share for _, share in hit.terms) == hit.score
        place = index.path
        assert place.exists()
    assert not place.exists()
    with pytest.raises(InputError, match="this index is closed"):
        index.search("a dog")


@pytest.mark.filterwarnings("error")
def test_a_forgotten_index_leaves_nothing_behind(bundle_folder: Path, photographs: Path) -> None:
    index = Index.from_images(photographs, model=bundle_folder, threads=1)
    place = index.path
    assert place.exists()
    del index
    gc.collect()
    assert not place.parent.exists()


def test_a_folder_becomes_an_index_that_stays(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    (tmp_path / "in" / "a.jpg").write_bytes((photographs / "a.jpg").read_bytes())
    made = Index.from_images(tmp_path / "in", tmp_path / "idx", model=bundle_folder, threads=1, top_k=150)
    assert [failure.id for failure in made.failures] == ["broken.jpg"]
    again = Index.open(str(tmp_path / "idx"))
    assert again.search("a dog") == made.search("a dog")
    assert again.search("a dog")[0].path == tmp_path / "in" / "a.jpg"
    assert Index.open(tmp_path / "idx", images="/elsewhere").search("a dog")[0].path == Path("/elsewhere/a.jpg")
    with pytest.raises(OutputError, match="exists; name a new folder"):
        Index.from_images(tmp_path / "in", tmp_path / "idx", model=bundle_folder)


@pytest.mark.parametrize(
    ("images", "engine", "message"),
    [("none", "exact", "none: no such folder"), (".", "faiss", "faiss holds no impacts"), (".", "x", "no such engine")],
)
def test_what_cannot_become_an_index(images: str, engine: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Index.from_images(tmp_path / images, engine=engine)


def test_one_query_gives_hits_and_several_give_lists(
    index: Index, output: Path, encoder: LexLIPEncoder, photographs: Path
) -> None:
    image = photographs / "sub" / "c.JPG"
    hits = index.search("a dog")
    assert sorted(ids(hits)) == NAMES
    pictures = [image, image.read_bytes(), Image.open(image), np.asarray(Image.open(image).convert("RGB"))]
    by_image = [index.search(picture, k=2) for picture in pictures]
    assert all(found == by_image[0] for found in by_image)
    assert index.search(["a dog", image], k=2) == [hits[:2], by_image[0]]
    batch = encoder.encode_texts(["a dog", "red"])
    assert index.search(batch) == index.search(["a dog", "red"])
    assert index.search(batch[[0]]) == hits
    assert index.search([batch[[0]], "red", image], k=2) == index.search(["a dog", "red", image], k=2)
    assert index.search([]) == []
    assert index.search([batch]) == index.search(batch)
    assert Index.open(output).search(["a dog"]) == index.search(["a dog"])


def test_a_text_is_a_text_even_if_it_names_a_file(index: Index, photographs: Path) -> None:
    named = index.search(str(photographs / "a.jpg"))
    assert named != index.search(photographs / "a.jpg")


def test_a_query_without_terms_finds_nothing(index: Index) -> None:
    empty = SparseBatch(np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), 150)
    assert index.search(empty) == []
    assert index.search([empty, empty]) == [[], []]


def test_what_is_refused(index: Index, encoder: LexLIPEncoder, tmp_path: Path) -> None:
    batch = encoder.encode_texts(["a dog"])
    stranger = SparseBatch(batch.indptr, batch.indices, batch.values, batch.vocab_size, "0" * 64)
    with pytest.raises(InputError, match=r"the query with another model \(000000000000\)"):
        index.search(stranger)
    with pytest.raises(InputError, match="k must be at least 1"):
        index.search("a dog", k=0)
    with pytest.raises(ImageError, match=r"none\.jpg: cannot be read"):
        index.search(Path("none.jpg"))
    with pytest.raises(OutputError, match="neither an index nor the output"):
        Index.open(tmp_path)
    with pytest.raises(InputError, match="is for the engine exact, not bm25"):
        Index.open(index.path, engine="bm25")


def test_an_index_is_changed(output: Path, tmp_path: Path) -> None:
    index = Index.build(output, tmp_path / "idx", threads=1)
    before = index.search("a dog")
    assert index.delete(["a.jpg", "z.bmp"]) == 2
    assert len(index) == 3
    assert ids(index.search("a dog")) == [name for name in ids(before) if name not in {"a.jpg", "z.bmp"}]
    with pytest.raises(InputError, match="a single str was given"):
        index.delete("b.png")
    with pytest.raises(InputError, match=r"b.png.* is in the index already"):
        index.append(output)
    assert index.append(output, replace=True) == 5
    assert index.description.segments == 2
    index.compact()
    assert (index.description.segments, index.description.engine) == (1, "exact")
    assert index.search("a dog") == before
    assert "5 documents" in repr(index)


def test_an_output_is_searched_and_not_changed(output: Path) -> None:
    index = Index.open(output)
    assert (index.engine, index.documents) == ("exact", 5)
    with pytest.raises(InputError, match="what lexlip-encode wrote, and no index"):
        index.delete(["a.jpg"])


def test_every_index_says_its_engine(index: Index, output: Path, tmp_path: Path) -> None:
    lucene = tmp_path / "lucene-index"
    (lucene / "lucene").mkdir(parents=True)
    for engine in ("anserini", "bm25"):
        record = {"engine": engine, "anserini": "a.jar", "source": "", "documents": 1}
        (lucene / "lexlip.json").write_text(json.dumps(record))
        found = find_engine(lucene)
        assert found is ENGINES[engine]
        with pytest.raises(InputError, match=f"for the engine {engine}, not exact"):
            find_engine(lucene, "exact")
    (tmp_path / "dense").touch()
    (tmp_path / "dense.json").touch()
    assert find_engine(tmp_path / "dense") is ENGINES["faiss"]
    assert find_engine(index.path) is ENGINES["exact"]
    assert find_engine(output) is None
    with pytest.raises(InputError, match="--kind means nothing to the engine exact"):
        Index.build(output, tmp_path / "x", kind="flat")


def test_bm25_takes_words(tmp_path: Path) -> None:
    pytest.importorskip("pyserini", reason="the extra `anserini` is not installed")
    (tmp_path / "texts.tsv").write_text("one\ta dog runs on grass\ntwo\ttwo cats sleep\n")
    code = """
import sys
from pathlib import Path
from lexlip_infer import Index, InputError
index = Index.build("texts.tsv", "bm25", "bm25", threads=1)
print(index, [(hit.id, hit.terms, hit.path) for hit in index.search("dogs", k=5)], index.search(["cat", "the"])[1])
print(type(index.search("dogs")[0].score).__name__)
for query in (Path("a.jpg"), 3.0):
    try:
        index.search(query)
    except InputError as error:
        print(error)
try:
    index.append("texts.tsv")
except InputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.splitlines() == [
        "Index(2 documents in bm25, engine bm25) [('one', (), None)] []",
        "float",
        "bm25 is for the engine bm25, which takes words; a PosixPath was given: look for it in an index of impacts",
        "bm25 is for the engine bm25, which takes words; a float was given: look for it in an index of impacts",
        "a BM25 index cannot be changed; build it again, or use --engine exact",
    ]


def test_faiss_takes_the_vectors_of_its_model(tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (extra faiss)")
    vectors = np.eye(4, dtype=np.float32)
    np.save(tmp_path / "v.npy", vectors)
    with pytest.raises(InputError, match="give them with --ids"):
        Index.build(tmp_path / "v.npy", tmp_path / "dense", "faiss")
    index = Index.build(tmp_path / "v.npy", tmp_path / "dense", "faiss", ids=list("abcd"))
    assert Index.open(tmp_path / "dense").description.documents == 4
    assert [(hit.id, hit.score) for hit in index.search(vectors[2], k=1)] == [("c", 1.0)]
    assert [ids(hits) for hits in index.search(vectors, k=1)] == [["a"], ["b"], ["c"], ["d"]]
    assert [ids(hits) for hits in index.search([vectors[1], vectors[0]], k=1)] == [["b"], ["a"]]
    with pytest.raises(InputError, match="engine faiss, which holds dense vectors; a str was given"):
        index.search("a dog")
    with pytest.raises(InputError, match="a Faiss index cannot be changed"):
        index.delete(["a"])


def test_build_index_names_what_there_is(tmp_path: Path) -> None:
    from lexlip_infer.search.registry import BuildOptions

    with pytest.raises(InputError, match="no such engine; expected one of exact, anserini, bm25, faiss"):
        build_index(tmp_path, tmp_path / "x", "lucene", BuildOptions(), 1)


def test_the_example() -> None:
    """At most 15 lines from a folder of photographs to hits, and they run."""
    example, photographs = ROOT / "examples" / "search_a_folder.py", ROOT / "examples" / "photographs"
    assert len(example.read_text().splitlines()) <= 15
    run = subprocess.run(
        [sys.executable, example, photographs, "a cat on a bed"], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert 1 <= len(lines) <= 5
    assert lines[0].startswith("1 ")
    assert "cat.jpg" in lines[0]
    assert all(str(photographs) in line for line in lines)


def test_a_damaged_note_of_where_the_photographs_lie_is_said(output: Path, tmp_path: Path) -> None:
    Index.build(output, tmp_path / "idx", threads=1).close()
    (tmp_path / "idx" / "images.json").write_text('{"images": 7')
    with pytest.raises(OutputError, match=r"images\.json: damaged .*remove it, and name the folder with images="):
        Index.open(tmp_path / "idx", threads=1).search("a dog")
