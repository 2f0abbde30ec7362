"""The compiled module as such: it fills every output, converts nothing, and lets other Python threads run."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from lexlip_kernels import _native
from lexlip_kernels.impact_dot import ImpactIndex, native

POISON = -77
SOURCES = Path(__file__).parents[3] / "kernels" / "cpp"


@pytest.fixture
def collection(random_matrix):
    return random_matrix(200, 61, 9, seed=0)


@pytest.fixture
def queries(random_matrix):
    return random_matrix(6, 61, 9, seed=1)


def search_arguments(index, queries, k):
    return {
        "term_offsets": index.term_offsets,
        "posting_docs": index.posting_docs,
        "posting_impacts": index.posting_impacts,
        "num_docs": index.num_docs,
        "vocab_size": index.vocab_size,
        "query_indptr": queries.indptr,
        "query_indices": queries.indices,
        "query_impacts": queries.impacts,
        "threads": 2,
        "rows": np.full((len(queries), k), POISON, np.int32),
        "scores": np.full((len(queries), k), POISON, np.int32),
    }


def test_search_overwrites_its_outputs(collection, queries):
    index = ImpactIndex.build(collection)
    arguments = search_arguments(index, queries, 250)
    _native.impact_search(**arguments)
    expected = index.search(queries, 250, backend="reference")
    for name, padding in (("rows", -1), ("scores", 0)):
        np.testing.assert_array_equal(arguments[name][:, :200], getattr(expected, name))
        assert (arguments[name][:, 200:] == padding).all()  # beyond the documents


def test_build_overwrites_its_outputs(collection):
    expected = native.build_postings(collection, np.uint8)
    poisoned = [np.full_like(array, 77) for array in expected]
    _native.impact_build_postings(collection.indptr, collection.indices, collection.impacts, 61, *poisoned)
    for array, wanted in zip(poisoned, expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("term_offsets", lambda a: a.astype(np.float64)),
        ("posting_docs", lambda a: np.repeat(a, 2)[::2]),
        ("posting_impacts", lambda a: a.astype(np.int32)),
        ("query_impacts", lambda a: a[:, None]),
        ("rows", lambda a: a.astype(np.int64)),
        ("scores", np.asfortranarray),
        ("rows", lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape)),  # read-only
    ],
)
def test_nothing_is_converted(collection, queries, name, spoil):
    arguments = search_arguments(ImpactIndex.build(collection), queries, 3)
    arguments[name] = spoil(arguments[name])
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _native.impact_search(**arguments)


def test_python_threads_share_an_index(collection, queries):
    index = ImpactIndex.build(collection)
    expected = index.search(queries, 10)
    found = [None] * 4

    def search(i):
        found[i] = index.search(queries, 10, threads=2, backend="native")

    threads = [threading.Thread(target=search, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        np.testing.assert_array_equal(result.rows, expected.rows)


def test_an_exception_in_a_worker_reaches_the_caller(tmp_path):
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler on this machine")
    program = tmp_path / "parallel_check"
    source = Path(__file__).with_name("parallel_check.cpp")
    subprocess.run([compiler, "-std=c++20", "-pthread", f"-I{SOURCES}", str(source), "-o", str(program)], check=True)
    subprocess.run([str(program)], check=True, timeout=60)
