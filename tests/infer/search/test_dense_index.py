"""Dense vectors in Faiss: against a plain product, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.search import dense as dense_index
from lexlip_infer.search.dense import DenseEngine, build_dense_index, choose_parameters
from lexlip_infer.search.description import describe_index

faiss = pytest.importorskip("faiss", reason="faiss is not installed (extra faiss)")


def unit(count: int, dimensions: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def build(folder: Path, vectors: np.ndarray, kind: dense_index.DenseKind) -> DenseEngine:
    np.save(folder / "vectors.npy", vectors)
    (folder / "ids.txt").write_text("".join(f"im ß {row}.jpg\n" for row in range(len(vectors))))
    build_dense_index(folder / "vectors.npy", folder / "ids.txt", kind, folder / "index", 2)
    return DenseEngine.open(folder / "index")


@pytest.mark.parametrize(("kind", "at_least"), [("flat", 1.0), ("hnsw", 0.98), ("ivfpq", 0.15)])
def test_finds_what_a_plain_product_finds(
    tmp_path: Path, kind: dense_index.DenseKind, at_least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense_index, "_CHUNK", 3000)
    vectors, queries = unit(10_000), unit(20, seed=1)
    engine = build(tmp_path, vectors, kind)
    before = faiss.omp_get_max_threads()
    found = engine.search(queries, 10, 1)
    assert faiss.omp_get_max_threads() == before
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    shared = [
        len({f"im ß {row}.jpg" for row in rows} & set(ids)) for rows, ids in zip(expected, found.ids, strict=True)
    ]
    assert np.mean(shared) / 10 >= at_least
    assert all((np.diff(scores) <= 0).all() and len(scores) == 10 for scores in found.scores)
    assert describe_index(tmp_path / "index").size == sum(
        (tmp_path / name).stat().st_size for name in ("index", "index.json")
    )
    assert engine.record.parameters == choose_parameters(kind, 10_000, 16)
    if kind == "ivfpq":
        assert (tmp_path / "index").stat().st_size < vectors.nbytes / 2


def test_k_beyond_n_and_half_precision(tmp_path: Path) -> None:
    engine = build(tmp_path, unit(3).astype(np.float16), "flat")
    assert [len(ids) for ids in engine.search(unit(2), 10).ids] == [3, 3]
    assert engine.search(unit(3)[:0], 10).ids == []


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (2 * unit(3), "not of length 1"),
        (np.full((3, 4), np.nan, np.float32), "not finite"),
        (unit(3).astype(np.float64), r"float64 of shape \(3, 16\); expected"),
        (unit(3)[0], r"expected \(N, D\)"),
    ],
)
def test_other_vectors(tmp_path: Path, vectors: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(tmp_path, vectors, "flat")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.txt", "vectors.npy"]


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 vectors are too few for ivfpq"):
        build(tmp_path, unit(3), "ivfpq")
    with pytest.raises(InputError, match="3 vectors and 2 ids"):
        build_dense_index(tmp_path / "vectors.npy", ["a", "b"], "flat", tmp_path / "index", 1)
    engine = build(tmp_path, unit(3), "flat")
    with pytest.raises(OutputError, match="exists"):
        build(tmp_path, unit(3, dimensions=1), "flat")
    for queries, k, threads in ((unit(2, 8), 1, 1), (2 * unit(2), 1, 1), (unit(2), 0, 1), (unit(2), 1, 0)):
        with pytest.raises(InputError):
            engine.search(queries, k, threads)


def test_damaged_files(tmp_path: Path) -> None:
    build(tmp_path, unit(3), "flat")
    record = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(record | {"ids": ["one"]}))
    with pytest.raises(OutputError, match="holds other vectors"):
        DenseEngine.open(tmp_path / "index")
    (tmp_path / "index.json").write_text(json.dumps(record))
    (tmp_path / "index").write_bytes((tmp_path / "index").read_bytes()[:50])
    with pytest.raises(OutputError, match="Faiss cannot read it"):
        DenseEngine.open(tmp_path / "index")
    (tmp_path / "index.json").unlink()
    with pytest.raises(OutputError, match=r"index\.json: cannot be read"):
        DenseEngine.open(tmp_path / "index")


def test_ids_beyond_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense_index, "RECORD_LIMIT", 100)
    build(tmp_path, unit(40), "flat")  # its ids are fewer bytes than its vectors
    record = (tmp_path / "index.json").read_bytes()
    (tmp_path / "index.json").write_bytes(record + b" " * 2**14)
    with pytest.raises(OutputError, match=r"index\.json: holds .* kB; at most .* kB are read"):
        DenseEngine.open(tmp_path / "index")
    (tmp_path / "index").unlink()
    (tmp_path / "index.json").unlink()
    with pytest.raises(InputError, match=r"3 ids take .* bytes; at most .* bytes are read"):
        build(tmp_path, unit(3, dimensions=1), "flat")
    assert not (tmp_path / "index").exists()
