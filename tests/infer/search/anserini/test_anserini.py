"""Anserini's engine beside the exact index: the same scores, the same documents. Java runs in a process of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer.collection.manifest import PartRecord, RunManifest, RunSettings
from lexlip_infer.errors import BackendUnavailable, InputError, LexLIPError, MissingExtra, OutputError
from lexlip_infer.impacts import JsonLinesWriter, fill_empty
from lexlip_infer.search.anserini import (
    AnseriniEngine,
    build_anserini_index,
    check_java,
    java,
    read_record,
)
from lexlip_infer.search.bm25 import BM25Engine, build_bm25_index
from lexlip_infer.search.description import describe_index
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex

V = 1500
TERMS = ["[UNK]", "##ß", "😀", *(f"t{number}" for number in range(V - 3))]
ODD_IDS = ["", "a photograph of é.jpg", "tab\tand 😀", 'quote"\\', "ﬀ", "Z"]


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    try:
        check_java()
    except (MissingExtra, BackendUnavailable) as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def apart(installed: None) -> Iterator[Callable[..., object]]:
    """Calls a function in the process that has Java."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


def matrix(dense: np.ndarray) -> ImpactMatrix:
    rows, columns = np.nonzero(dense)
    indptr = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
    return ImpactMatrix(indptr, columns.astype(np.int32), dense[rows, columns].astype(np.int32), dense.shape[1])


def impact_search(index: Path, terms: list[str], queries: ImpactMatrix, k: int, threads: int) -> Ranking:
    return AnseriniEngine.open(index, terms).search(queries, k, threads)


def error_of(index: Path, terms: list[str], queries: ImpactMatrix, k: int, threads: int) -> str:
    try:
        AnseriniEngine.open(index, terms).search(queries, k, threads)
    except LexLIPError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def write(folder: Path, ids: list[str], documents: ImpactMatrix, terms: list[str] = TERMS) -> Path:
    folder.mkdir()
    (folder / "part-00000.jsonl").write_bytes(JsonLinesWriter(terms).encode(ids, documents))
    return folder


def assert_same(found: Ranking, ids: list[str], documents: ImpactMatrix, queries: ImpactMatrix, k: int) -> None:
    """Equal scores at every rank; equal ids but for the tie at the last one."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    index = ImpactIndex.build(matrix(dense(documents)[order]))
    expected = index.search(queries, k)
    for query in range(len(queries)):
        hits = expected.rows[query] >= 0
        scores = expected.scores[query][hits]
        np.testing.assert_array_equal(found.scores[query], scores)
        settled = [ids[order[row]] for row in expected.rows[query][hits][scores > scores[-1:]]]
        assert found.ids[query][: len(settled)] == settled
        assert len(set(found.ids[query])) == len(scores)


def dense(impacts: ImpactMatrix) -> np.ndarray:
    result = np.zeros((len(impacts), impacts.vocab_size), np.int64)
    for row in range(len(impacts)):
        terms, values = impacts.row(row)
        result[row, terms] = values
    return result


@pytest.fixture(scope="module")
def documents() -> ImpactMatrix:
    """Few impacts and repeated rows, so ties everywhere; term 7 in all but the placeholder documents."""
    random = np.random.default_rng(0)
    table = random.integers(1, 4, (220, V)) * (random.random((220, V)) < 0.03)
    table[:, 0] = 0
    table[:, 7] = 2
    table[100:150] = table[:50]
    table[200:203] = 0
    return fill_empty(matrix(table), 0)[0]


@pytest.fixture(scope="module")
def ids() -> list[str]:
    return [ODD_IDS[number] if 0 < number < len(ODD_IDS) else f"d {number}" for number in range(220)]


@pytest.fixture(scope="module")
def index(ids: list[str], documents: ImpactMatrix, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anserini")
    record = build_anserini_index(write(folder / "vectors", ids, documents), folder / "index", 2)
    assert record.documents == 220
    assert sorted(path.name for path in folder.iterdir()) == ["index", "vectors"]
    return folder / "index"


def query_table() -> np.ndarray:
    random = np.random.default_rng(1)
    table = random.integers(1, 60, (12, V)) * (random.random((12, V)) < 0.02)
    table[0] = 0  # empty
    table[1] = 0
    table[1, 7] = 3  # one long tie
    table[2] = 0
    table[2, 0] = 1  # the placeholder's documents alone
    table[3] = 1  # more terms than Lucene's limit
    table[4, 1:3] = 9  # terms outside ASCII
    return table


@pytest.mark.parametrize(("k", "threads"), [(1, 1), (10, 2), (1000, 1)])
def test_equals_the_exact_index(apart, index, ids, documents, k: int, threads: int) -> None:
    queries = matrix(query_table())
    assert np.diff(queries.indptr).max() > 1024
    found = apart(impact_search, index, TERMS, queries, k, threads)
    assert_same(found, ids, documents, queries, k)
    assert found.ids[0] == []
    if k == 1000:
        assert sorted(found.ids[2]) == ["d 200", "d 201", "d 202"]
        assert found.ids[1] == sorted(set(ids) - {"d 200", "d 201", "d 202"})  # ties by id, however odd


def test_terms_that_no_document_holds(apart, tmp_path: Path) -> None:
    table = np.array([[0, 2, 1], [0, 0, 4]])
    folder = write(tmp_path / "vectors", ["a", "b"], matrix(table), ["u", "v", "w"])
    build_anserini_index(folder, tmp_path / "index", 1)
    queries = matrix(np.array([[5, 0, 0], [5, 1, 1]]))
    assert_same(
        apart(impact_search, tmp_path / "index", ["u", "v", "w"], queries, 3, 1), ["a", "b"], matrix(table), queries, 3
    )


def test_scores_that_float32_would_round_are_refused(apart, tmp_path: Path) -> None:
    build_anserini_index(write(tmp_path / "vectors", ["a"], matrix(np.array([[40_000]])), ["u"]), tmp_path / "index", 1)
    said = apart(error_of, tmp_path / "index", ["u"], matrix(np.array([[500]])), 3, 1)
    assert said.startswith("InputError: query 0: a score of 20000000; from 2^24 on Anserini rounds")


@pytest.mark.parametrize(
    ("vocab", "k", "threads", "message"),
    [
        (3, 1, 1, "InputError: vocabularies differ: queries have 3 terms, the index 1500"),
        (V, 0, 1, "InputError: k is 0; expected at least 1"),
        (V, 1, 0, "InputError: threads is 0; expected at least 1"),
    ],
)
def test_bad_arguments(apart, index, vocab: int, k: int, threads: int, message: str) -> None:
    assert apart(error_of, index, TERMS, matrix(np.ones((1, vocab), int)), k, threads).startswith(message)


def test_a_damaged_index(apart, index, tmp_path: Path) -> None:
    (tmp_path / "index" / "lucene").mkdir(parents=True)
    (tmp_path / "index" / "lexlip.json").write_bytes((index / "lexlip.json").read_bytes())
    said = apart(error_of, tmp_path / "index", TERMS, matrix(query_table()), 1, 1)
    assert said.startswith(f"OutputError: {tmp_path}/index/lucene: Lucene cannot read the index")
    (tmp_path / "index" / "lexlip.json").write_text("{")
    with pytest.raises(OutputError, match=r"lexlip\.json: damaged, or of another version"):
        AnseriniEngine.open(tmp_path / "index", TERMS)
    with pytest.raises(OutputError, match=r"no index of Anserini, lexlip\.json cannot be read"):
        AnseriniEngine.open(tmp_path, TERMS)
    with pytest.raises(OutputError, match="an index of the engine 'anserini'; expected one of 'bm25'"):
        BM25Engine.open(index)


def test_a_document_that_anserini_leaves_out(tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    folder.mkdir()
    lines = [{"id": name, "contents": "", "vector": vector} for name, vector in (("a", {"u": 1}), ("b", {}))]
    (folder / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputError, match="indexed 1 of 2 documents"):
        build_anserini_index(folder, tmp_path / "index", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def output_folder(out: Path, ids: list[str], documents: ImpactMatrix, complete: bool) -> Path:
    """As lexlip-encode leaves it."""
    out.mkdir()
    write(out / "vectors", ids, documents)
    data = (out / "vectors" / "part-00000.jsonl").read_bytes()
    settings = RunSettings(
        modality="image",
        source="/photographs",
        model=None,
        model_name="m",
        model_fingerprint="f" * 64,
        top_k=9,
        scale=100,
        cap=255,
        normalise=True,
        items_per_shard=1000,
    )
    shard = PartRecord(
        name="part-00000.jsonl",
        documents=len(ids),
        failed=0,
        empty=0,
        impacts=len(documents.indices),
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=len(ids),
        inputs_digest="",
        failures_size=0,
    )
    manifest = RunManifest(version="0", settings=settings, shards=(shard,), complete=complete)
    (out / "manifest.json").write_text(manifest.model_dump_json())
    return out


@pytest.mark.parametrize("below", [".", "vectors"])
def test_an_output_of_lexlip_encode(ids, documents, tmp_path: Path, below: str) -> None:
    out = output_folder(tmp_path / "out", ids, documents, complete=True)
    build_anserini_index(out / below, tmp_path / "index", 1)
    record = read_record(tmp_path / "index", "anserini")
    assert record.documents == 220
    assert record.settings is not None
    assert (record.settings.model_fingerprint, record.settings.cap) == ("f" * 64, 255)


def test_an_output_that_is_not_whole(ids, documents, tmp_path: Path) -> None:
    out = output_folder(tmp_path / "out", ids, documents, complete=False)
    with pytest.raises(InputError, match="the same lexlip-encode command finishes it"):
        build_anserini_index(out, tmp_path / "index", 1)
    (out / "vectors" / "part-00000.jsonl").write_text("")
    with pytest.raises(OutputError, match="missing or changed"):
        build_anserini_index(out, tmp_path / "index", 1)


def test_nothing_is_written_over(index, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists, and nothing is written over"):
        build_anserini_index(index.parent / "vectors", index, 1)
    with pytest.raises(InputError, match="no such folder"):
        build_anserini_index(tmp_path / "none", tmp_path / "index", 1)


def test_java_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "java"
    monkeypatch.setattr(java, "java_home", lambda: tmp_path)
    with pytest.raises(BackendUnavailable, match="Java cannot be started"):
        check_java()
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho Error occurred during initialization of VM >&2\nexit 1\n")
    fake.chmod(0o755)
    with pytest.raises(BackendUnavailable, match=r"status 1 \(Error occurred during initialization of VM\)"):
        check_java()


def test_equals_the_exact_index_on_real_vectors(apart, data: Path, tmp_path: Path) -> None:
    """The shipped model on photographs and their captions, through an output folder of lexlip-encode."""
    from lexlip_infer import LexLIPEncoder
    from lexlip_infer.datasets import read_captioned_images
    from lexlip_infer.impacts import QuantisationSettings, quantise

    captioned = read_captioned_images(data / "flickr8k" / "captions.jsonl", "dev")
    encoder = LexLIPEncoder.from_pretrained(threads=1)
    images, captions = captioned.images[:100], captioned.captions[:200]
    settings = QuantisationSettings(normalise=True)
    documents = quantise(encoder.encode_images(images, show_progress_bar=False), settings)
    queries = quantise(encoder.encode_texts(captions, show_progress_bar=False), settings)
    names, terms = [path.name for path in images], list(encoder.vocabulary.terms)
    build_anserini_index(write(tmp_path / "vectors", names, documents, terms), tmp_path / "index", 1)
    assert_same(apart(impact_search, tmp_path / "index", terms, queries, 10, 1), names, documents, queries, 10)


CAPTIONS = {"x y": "A dog runs", "é😀": "Two dogs running on the beach", "c": "A cat sleeps"}


def bm25_search(index: Path, queries: list[str], k: int) -> Ranking:
    engine = BM25Engine.open(index)
    assert describe_index(index).size > 0
    return engine.search(queries, k, 2)


@pytest.mark.parametrize("form", ["jsonl", "tsv"])
def test_bm25(apart, tmp_path: Path, form: str) -> None:
    lines = [json.dumps({"id": i, "text": t}) if form == "jsonl" else f"{i}\t{t}" for i, t in CAPTIONS.items()]
    texts = tmp_path / f"texts.{form}"
    texts.write_text("\n".join(lines), encoding="utf-8")
    assert build_bm25_index(texts, tmp_path / "index", 1).documents == 3
    assert [path.name for path in sorted((tmp_path / "index").iterdir())] == ["lexlip.json", "lucene"]
    found = apart(bm25_search, tmp_path / "index", ["the running dog", "the", "", "nothing known", "beaches"], 10)
    assert found.ids == [["x y", "é😀"], [], [], [], ["é😀"]]
    assert found.scores[0][0] > found.scores[0][1] > 0


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("texts.tsv", "no tab", "there is no tab"),
        ("texts.tsv", "id\t ", "the text is empty"),
        ("texts.tsv", "a\tagain", "id"),
        ("texts.jsonl", '{"id": "b", "text": 3}', '"text" a string'),
        ("texts.jsonl", "[" * 100_000, "expected a line"),
    ],
)
def test_bm25_texts_that_are_none(tmp_path: Path, name: str, line: str, message: str) -> None:
    first = "a\tword" if name.endswith("tsv") else '{"id": "a", "text": "word"}'
    (tmp_path / name).write_text(f"{first}\n{line}\n")
    with pytest.raises(InputError, match=f"{name}:2: .*{message}"):
        build_bm25_index(tmp_path / name, tmp_path / "index", 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
