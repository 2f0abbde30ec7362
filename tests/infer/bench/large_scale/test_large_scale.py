"""Parts of the large-scale experiment: its journal, its questions, what is timed, and when two engines agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lexlip_infer.bench.large_scale.engines import check_installed
from lexlip_infer.bench.large_scale.files import Journal, read_texts
from lexlip_infer.bench.large_scale.results import agreement
from lexlip_infer.bench.large_scale.settings import DenseSources, Settings
from lexlip_infer.bench.large_scale.texts import QuerySet, write_texts
from lexlip_infer.bench.large_scale.vectors import write_vectors
from lexlip_infer.bench.large_scale.worker import DEPTH, measure
from lexlip_infer.datasets import CaptionedImages
from lexlip_infer.errors import BackendUnavailable, InputError, OutputError
from lexlip_infer.evaluation.ranks import CUTOFFS
from lexlip_infer.search.engine import Ranking
from lexlip_kernels import backends

SETTINGS = Settings(
    captions="/c.jsonl", split="dev", model_name="m", model_fingerprint="f", top_ks=(8, 16), text_top_k=4, scale=100.0,
    cap=255, normalise=True,
)  # fmt: skip
QUESTIONS = QuerySet.of(
    CaptionedImages((Path("a"), Path("b")), ("one dog", "a dog", "two cats", "a cat", "cats"), (0, 0, 1, 1, 1)),
    ("a", "b"),
)


def ranking(*queries: dict[str, float]) -> Ranking:
    return Ranking([list(query) for query in queries], [np.array(list(query.values())) for query in queries])


def test_the_exact_engine_is_not_timed_without_its_compiled_module(monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed(("exact", "bag-of-words"))
    monkeypatch.setattr(backends, "available_backends", lambda: ("reference",))
    check_installed(("bag-of-words",))
    with pytest.raises(BackendUnavailable, match="_native does not load"):
        check_installed(("exact",))


def test_steps_are_done_once(tmp_path: Path) -> None:
    for expected in (1, 1):
        with Journal.open(tmp_path / "out", SETTINGS, {"cpu": "x", "load_average_1min": expected}) as journal:
            assert journal.step("a", lambda: {"found": len(journal.record.steps) + 1}) == {"found": expected}
    with Journal.open(tmp_path / "out", SETTINGS, {"cpu": "x"}) as journal:
        with pytest.raises(ZeroDivisionError):
            journal.step("b", lambda: {"found": 1 // 0})
        assert set(journal.record.steps) == {"a"}


def test_other_settings_another_machine_and_a_second_run_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with (
        Journal.open(folder, SETTINGS, {"cpu": "x"}),
        pytest.raises(OutputError, match="another experiment runs"),
        Journal.open(folder, SETTINGS, {"cpu": "x"}),
    ):
        pass
    changed = SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(OutputError, match="seed was 0, now 1"), Journal.open(folder, changed, {"cpu": "x"}):
        pass
    with pytest.raises(OutputError, match="cpu was x, now y"), Journal.open(folder, SETTINGS, {"cpu": "y"}):
        pass
    (folder / "journal.json").write_text("{")
    with pytest.raises(OutputError, match="not as this version writes it"), Journal.open(folder, SETTINGS, {}):
        pass


def test_the_first_caption_is_the_document_and_the_others_are_queries() -> None:
    assert QUESTIONS.image_captions == ("one dog", "two cats")
    assert QUESTIONS.texts == ("a dog", "a cat", "cats")
    assert QUESTIONS.relevant == ("a", "b", "b")
    assert QUESTIONS.caption_rows.tolist() == [1, 3, 4]
    with pytest.raises(InputError, match="at least two"):
        QuerySet.of(CaptionedImages((Path("a"),), ("one dog",), (0,)), ("a",))


def test_agreement_is_free_inside_the_tie_at_the_cut_and_nowhere_else() -> None:
    ten = {f"d{rank}": 20.0 - rank for rank in range(9)}
    one = ranking(ten | {"x": 5}, {"a": 3, "b": 3}, {"a": 3}, {})
    assert agreement(one, ranking(ten | {"y": 5}, {"b": 3, "a": 3}, {"a": 3}, {})) == 100
    assert agreement(one, ranking(ten | {"x": 4}, {"a": 3, "c": 3}, {"a": 3, "b": 3}, {})) == 25


class CountingEngine:
    """Records how it is asked, and takes a second each time."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def search(self, queries: list[str], k: int, threads: int = 1) -> Ranking:
        self.asked.append((len(queries), threads))
        return ranking(*({"a": 1.0} for _ in queries))


def test_queries_are_asked_together_and_one_by_one() -> None:
    engine = CountingEngine()
    queries = [str(number) for number in range(250)]
    found = measure(engine, queries, threads=2, limit=230, seconds=8, now=lambda: len(engine.asked))
    single = [1] * (2 + 8)  # warm-up, then until the time is up
    assert engine.asked == [(size, threads) for threads in (1, 2) for size in (100, 100, 100, 100, 30, *single)]
    assert set(found) == {"1", "2"}
    assert CUTOFFS[-1] == DEPTH
    for speed in found.values():
        assert speed.pop("cores") >= 0
        assert speed == {
            "qps": 230 / 3, "batch_queries": 230, "single_qps": 1, "single_queries": 8, "p50_ms": 1000, "p95_ms": 1000,
            "p99_ms": 1000,
        }  # fmt: skip


def test_synthetic_texts_have_words_of_real_captions(tmp_path: Path) -> None:
    facts = write_texts(tmp_path / "texts", ["a", "b"], ["One dog, one cat", "two dogs"], 30, seed=0)
    ids, texts = read_texts(tmp_path / "texts")
    assert facts == {"documents": 32, "synthetic": 30}
    assert (ids[:3], texts[:2]) == (["a", "b", "synthetic/000000000"], ["One dog, one cat", "two dogs"])
    assert {word for text in texts[2:] for word in text.split()} == {"one", "dog", "cat", "two", "dogs"}


def real_vectors(folder: Path, ids: list[str]) -> Path:
    folder.mkdir()
    vectors = np.random.default_rng(len(ids)).standard_normal((len(ids), 4)).astype(np.float32)
    np.save(folder / "vectors.npy", vectors)
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return folder


def test_real_vectors_come_first_and_queries_are_those_of_the_captions(tmp_path: Path) -> None:
    images = real_vectors(tmp_path / "images", ["b", "other", "a"])
    texts = real_vectors(tmp_path / "texts", [str(row) for row in range(5)])
    further = real_vectors(tmp_path / "further", ["x"])
    dense = DenseSources(images=str(images), texts=str(texts), distractors=(str(further),))
    settings = SETTINGS.model_copy(update={"dense": dense})
    facts = write_vectors(tmp_path / "out", tmp_path / "queries.npy", QUESTIONS, 6, settings)
    assert facts == {"documents": 8, "synthetic": 5, "dimension": 4}
    ids = (tmp_path / "out" / "ids.txt").read_text().splitlines()
    assert ids[:4] == ["a", "b", "distractor-0/x", "synthetic/000000000"]
    vectors, given = np.load(tmp_path / "out" / "vectors.npy"), np.load(images / "vectors.npy")
    np.testing.assert_allclose(vectors[:2], (given / np.linalg.norm(given, axis=1, keepdims=True))[[2, 0]], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    asked = np.load(texts / "vectors.npy")[[1, 3, 4]]
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    np.testing.assert_allclose(np.load(tmp_path / "queries.npy"), asked, rtol=1e-6)


def test_real_vectors_of_something_else(tmp_path: Path) -> None:
    images, texts = real_vectors(tmp_path / "images", ["b", "c"]), real_vectors(tmp_path / "texts", ["0"])
    for given, message in ((images, "no vector of 'a'"), (tmp_path, r"expected vectors\.npy and ids\.txt")):
        settings = SETTINGS.model_copy(update={"dense": DenseSources(images=str(given), texts=str(texts))})
        with pytest.raises(InputError, match=message):
            write_vectors(tmp_path / "out", tmp_path / "queries.npy", QUESTIONS, 0, settings)
