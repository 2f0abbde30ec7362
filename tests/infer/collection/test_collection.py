"""A collection read back: document order, exact scores, and shares that add up."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer import Bundle, Vocabulary
from lexlip_infer.bundle import shipped_bundle
from lexlip_infer.collection.collection import Collection
from lexlip_infer.collection.manifest import PartRecord, differences, read_manifest
from lexlip_infer.collection.statistics import collection_statistics
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search.engine import Hit
from lexlip_infer.search.exact.engine import OutputEngine
from lexlip_infer.search.registry import OpenedIndex
from lexlip_kernels import ImpactMatrix
from lexlip_kernels.impact_dot import ImpactIndex, SearchResult

VOCABULARY = Vocabulary(tuple("abcdef"))
DOCUMENTS = {
    "z": {"a": 3, "c": 1},
    "é": {"b": 2},
    "B": {"a": 3, "c": 1},
    "a10": {"f": 65535, "a": 1},
    "a9": {"c": 9},
}


def write(folder: Path, shards: list[list[str]], complete: bool = True) -> Path:
    (folder / "vectors").mkdir(parents=True)
    records = []
    for number, names in enumerate(shards):
        data = "".join(json.dumps({"id": name, "contents": "", "vector": DOCUMENTS[name]}) + "\n" for name in names)
        path = folder / "vectors" / f"part-{number:05d}.jsonl"
        path.write_bytes(data.encode())
        impacts = sum(len(DOCUMENTS[name]) for name in names)
        counts = {"documents": len(names), "failed": 0, "empty": 0, "impacts": impacts}
        records.append(
            {
                "name": path.name,
                "size": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                **counts,
                "inputs": len(names),
                "inputs_digest": "",
                "failures_size": 0,
            }
        )
    settings = {
        "modality": "image",
        "source": "",
        "model": None,
        "model_name": "m",
        "model_fingerprint": "",
        "top_k": 4,
        "scale": 100.0,
        "cap": 65535,
        "normalise": False,
        "items_per_shard": 3,
    }
    manifest = {"format_version": 2, "version": "0", "settings": settings, "shards": records, "complete": complete}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def opened(folder: Path, vocabulary: Vocabulary = VOCABULARY) -> Collection:
    return Collection.open(folder, vocabulary=vocabulary, unfinished=True)


def queries(*rows: dict[str, int]) -> ImpactMatrix:
    pairs = [sorted((VOCABULARY.ids[term], impact) for term, impact in row.items()) for row in rows]
    return ImpactMatrix(
        np.cumsum([0, *map(len, pairs)]),
        np.array([term for row in pairs for term, _ in row], np.int32),
        np.array([impact for row in pairs for _, impact in row], np.int32),
        len(VOCABULARY),
    )


def search(folder: Path, queries: ImpactMatrix, k: int) -> list[list[Hit]]:
    engine = OutputEngine.open(opened(folder))
    index = OpenedIndex(engine, engine.documents, vocabulary=VOCABULARY, impacts_of=engine.impacts_of)
    ranking = engine.search(queries, k)
    return [
        [
            Hit(rank, round(score), name, index.shares(queries, query, name))
            for rank, (name, score) in enumerate(zip(ids, scores, strict=True), start=1)
        ]
        for query, (ids, scores) in enumerate(zip(ranking.ids, ranking.scores, strict=True))
    ]


@pytest.mark.parametrize("shards", [[["z", "é", "B"], ["a10", "a9"]], [["a9", "a10", "B", "z", "é"]]])
def test_search(shards: list[list[str]], tmp_path: Path) -> None:
    folder = write(tmp_path / "out", shards)
    assert opened(folder).in_id_order()[0] == ["B", "a10", "a9", "z", "é"]
    first, none, last = search(folder, queries({"a": 2, "c": 5}, {"d": 7}, {"f": 30000, "b": 1}), k=9)
    assert [(hit.rank, hit.score, hit.id, hit.terms) for hit in first] == [
        (1, 45, "a9", (("c", 45),)),
        (2, 11, "B", (("a", 6), ("c", 5))),
        (3, 11, "z", (("a", 6), ("c", 5))),
        (4, 2, "a10", (("a", 2),)),
    ]
    assert none == []
    assert [(hit.score, hit.id) for hit in last] == [(30000 * 65535, "a10"), (2, "é")]


def test_fewer_hits_are_the_first_of_more(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [list(DOCUMENTS)])
    query = queries({"a": 2, "c": 5, "b": 1})
    (whole,) = search(folder, query, k=100)
    for k in range(1, 6):
        assert search(folder, query, k) == [whole[:k]]


def test_no_more_hits_than_documents_are_asked_of_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index allocates room for all that it is asked for."""
    folder = write(tmp_path / "out", [list(DOCUMENTS)])
    asked = []
    original = ImpactIndex.search

    def spy(self: ImpactIndex, queries: ImpactMatrix, k: int, threads: int) -> SearchResult:
        asked.append(k)
        return original(self, queries, k, threads)

    monkeypatch.setattr(ImpactIndex, "search", spy)
    assert len(search(folder, queries({"a": 1}), k=10**30)[0]) == 3
    assert asked == [5]


@pytest.mark.parametrize("name", ["part-00000.jsonl.gz", "part-00000-copy.jsonl", "part-00001.jsonl", "notes.txt"])
def test_a_file_that_the_manifest_does_not_name(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [list(DOCUMENTS)])
    (folder / "vectors" / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: not written by this run, and Anserini would index it"):
        opened(folder).in_id_order()


def test_the_shard_of_a_killed_run_is_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [list(DOCUMENTS)], complete=False)
    (folder / "vectors" / "part-00001.jsonl").write_text("whatever")
    assert len(opened(folder).in_id_order()[0]) == 5


def test_a_shard_changed_without_a_change_of_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [["z", "é"], ["B"]])
    part = folder / "vectors" / "part-00001.jsonl"
    part.write_bytes(part.read_bytes().replace(b'"a": 3', b'"a": 4'))
    with pytest.raises(OutputError, match=r"part-00001\.jsonl: missing or changed since it was written"):
        opened(folder).in_id_order()


def test_a_vocabulary_that_does_not_fit(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [["a10"]])
    with pytest.raises(InputError, match=r"part-00000\.jsonl, line 1: unknown term 'f'"):
        opened(folder, Vocabulary(tuple("abc"))).in_id_order()


def test_statistics(tmp_path: Path) -> None:
    collection = opened(write(tmp_path / "out", [["z", "é", "B"], ["a10", "a9"]], complete=False))
    found = collection_statistics(collection, frequent_terms=3)
    assert (found.documents, found.active_terms, found.impacts, found.impact_sum) == (5, 4, 8, 65555)
    assert (found.largest_impact, found.terms_per_document, found.complete) == (65535, (1, 2.0, 2), False)
    assert [(row.term, row.documents) for row in found.frequent_terms] == [("a", 3), ("c", 3), ("b", 1)]


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_come_in_their_order_whoever_reads_them(threads: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [[name] for name in DOCUMENTS])
    found = list(opened(folder).parts(threads))
    assert [ids for ids, _ in found] == [[name] for name in DOCUMENTS]
    ids, matrix = opened(folder).in_id_order(threads)
    assert ids == sorted(DOCUMENTS)
    assert matrix.row(0)[1].tolist() == [3, 1]


def test_json_lines_of_others(tmp_path: Path) -> None:
    """Two files, one of them gzip, more lines than a chunk holds; their own terms, in order of first occurrence."""
    many = [
        f'{{"id": "{number}", "contents": "", "vector": {{"t{number % 7}": {number + 1}}}}}\n' for number in range(2001)
    ]
    (tmp_path / "a.jsonl").write_text("".join(many))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b'{"id": "z", "contents": "", "vector": {"new": 5, "t0": 2}}\n'))
    collection = Collection.open(tmp_path)
    assert (collection.manifest, collection.documents, collection.scale) == (None, None, None)
    assert collection.vocabulary.terms == (*(f"t{number}" for number in range(7)), "new")
    for read in (collection.chunks(), collection.parts(2)):
        sizes = [(len(ids), matrix.shape) for ids, matrix in read]
        assert sizes == [(2000, (2000, 8)), (1, (1, 8)), (1, (1, 8))]
    ids, matrix = Collection.open(tmp_path / "b.json.gz", vocabulary=Vocabulary(("new", "t0"))).in_id_order()
    assert (ids, matrix.row(0)[1].tolist()) == (["z"], [5, 2])


def test_chunks_are_parts_of_parts(tmp_path: Path) -> None:
    names = [f"{number:05d}" for number in range(4001)]
    folder = write(tmp_path / "out", [list(DOCUMENTS)])
    data = "".join(f'{{"id":"{name}","contents":"","vector":{{"a":{int(name) + 1}}}}}\n' for name in names).encode()
    (folder / "vectors" / "part-00000.jsonl").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["shards"][0] |= dict.fromkeys(("documents", "impacts", "inputs"), len(names))
    (folder / "manifest.json").write_text(json.dumps(manifest))
    chunks = list(opened(folder).chunks())
    assert [len(ids) for ids, _ in chunks] == [2000, 2000, 1]
    assert [name for ids, _ in chunks for name in ids] == names
    assert chunks[2][1].row(0)[1].tolist() == [4001]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no file"),
        ({"a.txt": b"x"}, "a.txt"),
        ({"a.jsonl": b""}, "no documents to search; its files are empty"),
        ({"a.jsonl": b'{"id": "x"}\n'}, "a.jsonl, line 1"),
        ({"a.jsonl.gz": b"no gzip"}, "is a damaged gzip file"),
    ],
)
def test_json_lines_that_are_none(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=said):
        Collection.open(tmp_path).in_id_order()


def test_an_unfinished_run_is_refused_unless_asked_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [list(DOCUMENTS)], complete=False)
    with pytest.raises(InputError, match="the run was interrupted; the same lexlip-encode command finishes it"):
        Collection.open(folder, vocabulary=VOCABULARY)
    nothing = write(tmp_path / "nothing", [], complete=False)
    with pytest.raises(InputError, match="no documents to search; the run was interrupted early"):
        opened(nothing).in_id_order()


def test_the_words_are_those_of_the_model_that_encoded(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(bundle_folder)
    terms = bundle.vocabulary().terms
    folder = write(tmp_path / "out", [])
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["settings"] |= {"model": str(bundle_folder), "model_fingerprint": bundle.fingerprint}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Collection.open(folder).vocabulary.terms == terms
    with pytest.raises(InputError, match=r"was encoded with m .*, this is lexlip-tiny .*; pass the same bundle with"):
        Collection.open(folder, model=str(shipped_bundle()))


def test_a_folder_that_has_to_be_an_output(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "x", "contents": "", "vector": {"a": 1}}\n')
    with pytest.raises(OutputError, match=r"not the output of lexlip-encode, manifest\.json cannot be read"):
        Collection.open_output(tmp_path, vocabulary=VOCABULARY)


def test_settings_are_compared_by_name() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b was 2, now 3; c was None, now 4"
    assert differences({"a": 1}, {"a": 1}, "here") == ""


def test_a_record_of_before_there_were_cuts(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", [list(DOCUMENTS)])
    (record,) = read_manifest(folder).shards
    assert record.texts_cut == 0
    assert "texts_cut" not in record.model_dump()
    cut = record.model_copy(update={"texts_cut": 3})
    assert PartRecord.model_validate_json(cut.model_dump_json()) == cut
    assert list(cut.model_dump())[-1] == "texts_cut"
