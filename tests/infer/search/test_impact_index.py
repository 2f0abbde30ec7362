"""The index folder against brute force over plain dictionaries, through every way of changing it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.impacts import JsonLinesWriter
from lexlip_infer.search.exact.building import IndexWriter, append, build_exact_index, compact, delete, verify
from lexlip_infer.search.exact.engine import ExactEngine
from lexlip_infer.search.exact.folder import ImpactIndexFolder
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import CHUNK_DOCS

TERMS = tuple("abcdefgh")
Documents = dict[str, dict[int, int]]


def matrix(rows: list[dict[int, int]], vocab_size: int = len(TERMS)) -> ImpactMatrix:
    pairs = [sorted(row.items()) for row in rows]
    return ImpactMatrix(
        np.cumsum([0, *map(len, pairs)]).astype(np.int64),
        np.array([term for row in pairs for term, _ in row], np.int32),
        np.array([impact for row in pairs for _, impact in row], np.int32),
        vocab_size,
    )


def random_documents(number: int, seed: int, prefix: str = "d") -> Documents:
    """Few terms and small impacts, so that most scores are shared by many documents."""
    random = np.random.default_rng(seed)
    rows = [{int(t): int(random.integers(1, 4)) for t in random.permutation(8)[:3]} for _ in range(number)]
    return {f"{prefix}{name:03d}é/ü.jpg": row for name, row in zip(random.permutation(number), rows, strict=True)}


def expected(documents: Documents, query: dict[int, int], k: int) -> list[tuple[float, str]]:
    scores = {name: sum(query.get(t, 0) * i for t, i in row.items()) for name, row in documents.items()}
    return [(float(s), n) for n, s in sorted(scores.items(), key=lambda hit: (-hit[1], hit[0])) if s][:k]


QUERIES = [{0: 2, 3: 1}, {7: 1}, {}, dict.fromkeys(range(8), 1)]


def check(index: Path, documents: Documents, engine: ExactEngine | None = None) -> None:
    engine = ExactEngine.open(index) if engine is None else engine
    assert engine.documents == len(documents)
    for k in (1, 4, 10_000):
        for threads in (1, 3):
            ranking = engine.search(matrix(QUERIES), k, threads)
            for query, ids, scores in zip(QUERIES, ranking.ids, ranking.scores, strict=True):
                assert list(zip(scores.tolist(), ids, strict=True)) == expected(documents, query, k)


def write(index: Path, documents: Documents, buffered: int = 10**6) -> None:
    with IndexWriter(index, len(TERMS), TERMS, buffered=buffered) as writer:
        names = list(documents)
        for at in range(0, len(names), 7):
            part = names[at : at + 7]
            writer.add(part, matrix([documents[name] for name in part]))
        writer.commit()


def write_lines(folder: Path, documents: Documents) -> Path:
    folder.mkdir()
    data = JsonLinesWriter(TERMS).encode(list(documents), matrix(list(documents.values())))
    (folder / "part.jsonl").write_bytes(data)
    return folder


@pytest.mark.parametrize("buffered", [1, 50, 10**6])
def test_built_in_runs_of_any_size(buffered: int, tmp_path: Path) -> None:
    documents = random_documents(60, 0)
    write(tmp_path / "idx", documents, buffered)
    assert len(ExactEngine.open(tmp_path / "idx").segments) == 1
    assert len(list((tmp_path / "idx" / "segments").iterdir())) == 1
    check(tmp_path / "idx", documents)
    verify(tmp_path / "idx")


def test_runs_leave_no_trace_in_the_arrays(tmp_path: Path) -> None:
    documents = random_documents(60, 1)
    for name, buffered in (("one", 10**6), ("many", 20)):
        write(tmp_path / name, documents, buffered)
    files = [
        {file.name: file.read_bytes() for file in (tmp_path / name / "segments").rglob("*.npy")}
        for name in ("one", "many")
    ]
    assert files[0] == files[1]


def test_a_long_life(tmp_path: Path) -> None:
    index, documents = tmp_path / "idx", random_documents(50, 2)
    write(index, documents)
    for step in range(4):
        more = random_documents(20, 10 + step, f"{'zca0'[step]}")
        assert append(write_lines(tmp_path / f"more{step}", more), index) == 20
        documents |= more
        check(index, documents)
        gone = sorted(documents)[step :: 3 + step]
        assert delete(index, [*gone, gone[0]]) == len(gone)
        documents = {name: row for name, row in documents.items() if name not in gone}
        check(index, documents)
        verify(index)
    assert len(ExactEngine.open(index).segments) == 5
    compact(index)
    assert len(ExactEngine.open(index).segments) == 1
    assert ExactEngine.open(index).manifest.deleted == 0
    check(index, documents)
    verify(index)
    write(tmp_path / "fresh", documents)
    arrays = [
        {file.name: file.read_bytes() for file in folder.rglob("*.npy")} for folder in (index, tmp_path / "fresh")
    ]
    assert arrays[0] == arrays[1]


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3),
        st.dictionaries(st.integers(0, 7), st.integers(1, 65535), max_size=4),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_any_documents(tmp_path_factory: pytest.TempPathFactory, documents: Documents, data: st.DataObject) -> None:
    index = tmp_path_factory.mktemp("any") / "idx"
    write(index, documents, buffered=3)
    gone = data.draw(st.lists(st.sampled_from(sorted(documents)), unique=True))
    delete(index, gone)
    check(index, {name: row for name, row in documents.items() if name not in gone})


def test_everything_deleted_and_added_again(tmp_path: Path) -> None:
    index, documents = tmp_path / "idx", random_documents(9, 3)
    write(index, documents)
    delete(index, documents)
    check(index, {})
    compact(index)
    check(index, {})
    append(write_lines(tmp_path / "lines", documents), index)
    check(index, documents)


def test_replacing(tmp_path: Path) -> None:
    index, documents = tmp_path / "idx", random_documents(30, 4)
    write(index, documents)
    names = list(documents)
    newer = dict(zip(names[:10], reversed([documents[name] for name in names[:10]]), strict=True))
    lines = write_lines(tmp_path / "lines", newer | {"new": {1: 9}})
    with pytest.raises(InputError, match="is in the index already; pass --replace"):
        append(lines, index)
    check(index, documents)
    assert append(lines, index, replace=True) == 11
    check(index, documents | newer | {"new": {1: 9}})
    verify(index)


def test_an_id_that_occurs_twice(tmp_path: Path) -> None:
    for buffered in (1, 10**6):
        with IndexWriter(tmp_path / "idx", 8, TERMS, buffered=buffered) as writer:
            writer.add(["x"], matrix([{1: 1}]))
            writer.add(["y", "x"], matrix([{1: 1}, {}]))
            with pytest.raises(InputError, match="'x' occurs twice"):
                writer.commit()
        assert not (tmp_path / "idx").exists()


def test_deleting_what_is_not_there(tmp_path: Path) -> None:
    index, documents = tmp_path / "idx", random_documents(5, 5)
    write(index, documents)
    with pytest.raises(InputError, match="'nobody' is not in the index; nothing was deleted"):
        delete(index, [*documents, "nobody"])
    check(index, documents)
    name = next(iter(documents))
    delete(index, [name])
    with pytest.raises(InputError, match="nothing was deleted"):
        delete(index, [name])


def test_what_is_open_keeps_its_state(tmp_path: Path) -> None:
    index, documents = tmp_path / "idx", random_documents(40, 6)
    write(index, documents)
    engine = ExactEngine.open(index)
    append(write_lines(tmp_path / "more", random_documents(10, 7, "more")), index)
    delete(index, list(documents)[:20])
    compact(index)
    assert not list((index / "segments").glob("000001"))
    check(index, documents, engine)


def test_impacts_of_a_document(tmp_path: Path) -> None:
    documents = random_documents(20, 8)
    write(tmp_path / "idx", documents)
    engine = ExactEngine.open(tmp_path / "idx")
    for name, row in documents.items():
        found = engine.impacts_of(name, np.arange(8, dtype=np.int32))
        assert {t: i for t, i in enumerate(found.tolist()) if i} == row
    assert not engine.impacts_of("nobody", np.arange(8, dtype=np.int32)).any()


def test_5000_terms_and_other_limits(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "idx", 6000) as writer:
        writer.add(["d"], matrix([dict.fromkeys(range(6000), 2)], 6000))
        writer.commit()
    engine = ExactEngine.open(tmp_path / "idx")
    assert engine.vocab.terms[:2] == ("0", "1")
    ranking = engine.search(matrix([dict.fromkeys(range(5000), 3)], 6000), 10**12)
    assert (ranking.ids, ranking.scores[0].tolist()) == ([["d"]], [30_000.0])
    with pytest.raises(InputError, match="score bound exceeds"):
        engine.search(matrix([{0: 2**31 - 1, 1: 1}], 6000), 10)
    for k, threads in ((0, 1), (-1, 1), (1, 0)):
        with pytest.raises(InputError, match=r"at least 1|>= 1"):
            engine.search(matrix([{0: 1}], 6000), k, threads)
    with pytest.raises(InputError, match="vocabularies differ"):
        engine.search(matrix([{0: 1}]), 10)


def test_an_impact_that_does_not_fit(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "idx", 8, TERMS) as writer:
        writer.add(["d"], matrix([{1: 65536}]))
        with pytest.raises(InputError, match="largest document impact is 65536"):
            writer.commit()
    assert not (tmp_path / "idx").exists()


def test_two_writers(tmp_path: Path) -> None:
    with IndexWriter(tmp_path / "idx", 8, TERMS) as first:
        first.add(["x"], matrix([{1: 1}]))
        with pytest.raises(OutputError, match="another lexlip index is writing"):
            IndexWriter(tmp_path / "idx", 8, TERMS)
        with pytest.raises(OutputError, match="no index"):
            ExactEngine.open(tmp_path / "idx")
        first.commit()
    with ImpactIndexFolder.change(tmp_path / "idx"), pytest.raises(OutputError, match="another lexlip index"):
        delete(tmp_path / "idx", ["x"])
    check(tmp_path / "idx", {"x": {1: 1}})


def test_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match="exists; name a new folder"):
        IndexWriter(tmp_path, 8, TERMS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_other_terms_and_nothing(tmp_path: Path) -> None:
    index = tmp_path / "idx"
    lines = write_lines(tmp_path / "lines", {"x": {1: 1}})
    build_exact_index(lines, index)
    assert ExactEngine.open(index).vocab.terms == ("b",)
    with pytest.raises(InputError, match="unknown term"):
        append(write_lines(tmp_path / "other", {"y": {2: 1}}), index)
    with pytest.raises(OutputError, match="exists; name a new folder, or add to an index with --append"):
        build_exact_index(lines, index)
    (lines / "part.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match="no documents to index"):
        build_exact_index(lines, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert append(lines, index) == 0
    assert json.loads((index / "index.json").read_bytes())["generation"] == 1


def test_merging_over_chunks_gives_what_one_build_gives(tmp_path: Path) -> None:
    """Runs interleave, chunks shift after a deletion, and an impact of 16 bits goes with its document."""
    number = 2 * CHUNK_DOCS + 10
    random = np.random.default_rng(4)
    dense = random.integers(1, 256, (number, 3)) * (random.random((number, 3)) < 0.5)
    dense[7, 0] = 300
    names = [f"{i:06d}" for i in range(number)]

    def write_rows(name: str, rows: list[int], buffered: int) -> Path:
        with IndexWriter(tmp_path / name, 3, buffered=buffered) as writer:
            for part in (rows[0::3], rows[1::3], rows[2::3]):
                chosen = dense[part]
                indptr = np.concatenate([[0], np.cumsum((chosen > 0).sum(axis=1))]).astype(np.int64)
                terms = np.nonzero(chosen)[1].astype(np.int32)
                impacts = chosen[chosen > 0].astype(np.int32)
                writer.add([names[row] for row in part], ImpactMatrix(indptr, terms, impacts, 3))
            writer.commit()
        verify(tmp_path / name)
        return tmp_path / name / "segments"

    def arrays(folder: Path) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in folder.rglob("*.npy")}

    everything, rest = list(range(number)), [row for row in range(number) if row != 7]
    merged = write_rows("merged", everything, 1)
    assert arrays(merged) == arrays(write_rows("one", everything, 10**9))
    delete(tmp_path / "merged", [names[7]])
    compact(tmp_path / "merged")
    verify(tmp_path / "merged")
    assert ExactEngine.open(tmp_path / "merged").manifest.segments[0].impact_bits == 8
    assert arrays(merged) == arrays(write_rows("fresh", rest, 10**9))
