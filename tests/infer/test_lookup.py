"""Texts whose terms are looked up: against dictionaries, without a model, and as every other vector in what follows."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from lexlip_infer import BundleError, InputError, LexLIPEncoder, OutputError, encode_folder, encode_texts_file
from lexlip_infer.bundle import Bundle
from lexlip_infer.impacts import QuantisationSettings, quantise
from lexlip_infer.search.index import Index

TEXTS = ["a black dog runs", "dog dog dog on a dog beach", "", "日本", "two small white cats sleep on the old chair"]


@pytest.fixture(scope="module")
def looking(lookup_folder: Path) -> LexLIPEncoder:
    return LexLIPEncoder.from_pretrained(lookup_folder, threads=1)


def weights_of(folder: Path) -> list[float]:
    weights = load((folder / "heads.safetensors").read_bytes())["text.static_weight"]
    assert weights.dtype == np.float32
    return list(map(float, weights))


def by_hand(encoder: LexLIPEncoder, text: str, counting: str) -> dict[str, float]:
    """Every term of a text with its weight, once or as often as it stands there."""
    weights, terms = weights_of(encoder.bundle.folder), encoder.vocabulary.terms
    counts = Counter(encoder.tokenize([text])[0][0].tolist())
    return {terms[i]: weights[i] * (count if counting == "sum" else 1) for i, count in counts.items() if weights[i] > 0}


def changed(folder: Path, copy: Path, text: dict[str, Any], arrays: dict[str, Any] | None = None) -> Path:
    """A copy of a bundle whose manifest says something else of texts, or whose heads hold something else."""
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "lexlip.json").read_text())
    manifest["text"] |= text
    if arrays is not None:
        data = save(
            {k: v for k, v in (load((copy / "heads.safetensors").read_bytes()) | arrays).items() if v is not None}
        )
        (copy / "heads.safetensors").write_bytes(data)
        manifest["files"]["heads.safetensors"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (copy / "lexlip.json").write_text(json.dumps(manifest))
    return copy


@pytest.mark.parametrize("counting", ["once", "sum"])
def test_terms_of_the_text_and_no_others(counting: str, lookup_folder: Path, tmp_path: Path) -> None:
    encoder = LexLIPEncoder.from_pretrained(changed(lookup_folder, tmp_path / "b", {"static": counting}), threads=1)
    found = encoder.encode_texts(TEXTS, top_k=150, batch_size=2, mode="lookup")
    found.validate()
    for row, text in zip(found.to_dicts(encoder.vocabulary.terms), TEXTS, strict=True):
        assert row == pytest.approx(by_hand(encoder, text, counting), rel=1e-6)
        assert list(row.values()) == sorted(row.values(), reverse=True)
    assert np.diff(found.indptr)[[0, 2, 3]].tolist()[1:] == [0, 0]  # special tokens and unknown words weigh nothing
    assert min(np.diff(found.indptr)[[0, 1, 4]]) > 1
    once = encoder.encode_texts(["dog"], mode="lookup").to_dicts(encoder.vocabulary.terms)[0]
    many = found.to_dicts(encoder.vocabulary.terms)[1]
    assert all(many[term] == pytest.approx(weight * (4 if counting == "sum" else 1)) for term, weight in once.items())


def test_the_contract_of_every_vector(looking: LexLIPEncoder) -> None:
    whole = looking.encode_texts(TEXTS, top_k=150, mode="lookup")
    assert whole.fingerprint == looking.bundle.fingerprint
    assert not set(looking.manifest.suppressed_ids) & set(whole.indices.tolist())
    assert np.diff(looking.encode_texts(TEXTS, mode="lookup").indptr).max() == looking.manifest.top_k.text
    kept = looking.encode_texts(TEXTS, top_k=3, mode="lookup")
    assert np.array_equal(kept.to_dense(), whole.top_k(3).to_dense())
    assert np.array_equal(looking.encode_query(TEXTS, top_k=150, mode="lookup").to_dense(), whole.to_dense())
    streamed = list(looking.iter_encode_texts(iter(TEXTS), 2, 150, mode="lookup"))
    assert np.array_equal(np.concatenate([batch.to_dense() for batch in streamed]), whole.to_dense())
    assert np.array_equal(looking.similarity(whole, whole).diagonal() > 0.999, np.diff(whole.indptr) > 0)
    assert len(looking.encode_texts([], mode="lookup")) == 0
    with_tower = looking.encode_texts(TEXTS, top_k=150)
    assert np.array_equal(with_tower.to_dense(), looking.encode_texts(TEXTS, top_k=150, mode="tower").to_dense())
    assert not np.array_equal(with_tower.to_dense(), whole.to_dense())


def test_a_long_text_is_cut_as_before_the_tower(looking: LexLIPEncoder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = looking.encode_texts(["dog " * 40 + "cat"], top_k=150, mode="lookup")
    assert "1 of 1 texts are longer than 16 tokens" in caplog.text
    assert np.array_equal(found.to_dense(), looking.encode_texts(["dog"], top_k=150, mode="lookup").to_dense())


def test_no_model_is_read_or_run(lookup_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(lookup_folder, tmp_path / "bundle")
    for graph in folder.glob("onnx/*"):
        graph.unlink()
    code = (
        "import sys, lexlip_infer as l; encoder = l.LexLIPEncoder.from_pretrained(sys.argv[1]); "
        "print(encoder.encode_query('a dog', mode='lookup').nnz, 'onnxruntime' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    count, loaded = run.stdout.split()
    assert int(count) > 0
    assert loaded == "False"


def test_models_without_weights_are_as_before(bundle_folder: Path, lookup_folder: Path) -> None:
    old, new = Bundle.open(bundle_folder).manifest, Bundle.open(lookup_folder).manifest
    assert (old.format_version, new.format_version) == (2, 4)
    assert old.text is not None
    assert new.text is not None
    assert "static" not in json.loads((bundle_folder / "lexlip.json").read_text())["text"]
    assert (old.text.static, new.text.static) == (None, "once")
    assert "text.static_weight" not in load((bundle_folder / "heads.safetensors").read_bytes())


def test_what_is_not_to_be_had(encoder: LexLIPEncoder, looking: LexLIPEncoder) -> None:
    for ask in (lambda: encoder.encode_query([], mode="lookup"), lambda: encoder.load("text", "lookup")):
        with pytest.raises(
            BundleError, match="random has no weights for texts without its tower; use the query mode 't"
        ):
            ask()
    for ask in (lambda: looking.encode_texts([], mode="table"), lambda: looking.load("text", "table")):
        with pytest.raises(InputError, match="query mode is 'table'; expected 'tower' or 'lookup'"):
            ask()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (None, r"text.static_weight is missing; expected (150,)"),
        (np.zeros(149, np.float32), "text.static_weight is (149,) F32; expected (150,)"),
        (np.zeros((150, 1), np.float32), "text.static_weight is (150, 1) F32; expected (150,)"),
        (np.zeros(150, np.int32), "text.static_weight is (150,) I32; expected (150,)"),
        (np.full(150, np.nan, np.float32), "text.static_weight holds NaN or infinity"),
        (np.full(150, -0.5, np.float32), "text.static_weight holds -0.5; expected weights from 0 to 1e+06"),
        (np.full(150, 3e38, np.float32), "text.static_weight holds 3e+38; expected weights from 0 to 1e+06"),
    ],
)
def test_damaged_weights(weights: Any, said: str, lookup_folder: Path, tmp_path: Path) -> None:
    copy = changed(lookup_folder, tmp_path / "bundle", {}, {"text.static_weight": weights})
    with pytest.raises(BundleError) as raised:
        LexLIPEncoder.from_pretrained(copy).encode_query("a dog", mode="lookup")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_way_of_counting_that_there_is_not(lookup_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"text\.static"):
        Bundle.open(changed(lookup_folder, tmp_path / "bundle", {"static": "twice"}))


class TestRuns:
    """`encode_texts_file` and what it leaves."""

    @pytest.fixture
    def texts(self, tmp_path: Path) -> Path:
        (tmp_path / "texts.txt").write_text("\n".join(filter(None, TEXTS)) + "\n")
        return tmp_path / "texts.txt"

    def test_lines_and_manifest(self, texts: Path, looking: LexLIPEncoder, lookup_folder: Path, tmp_path: Path) -> None:
        for _ in range(2):  # and once more, when all is done
            found = encode_texts_file(texts, tmp_path / "out", model=lookup_folder, query_mode="lookup")
        settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
        assert settings["query_mode"] == "lookup"
        assert not {"device", "backend", "precision", "head"} & settings.keys()  # nothing of the kind ran
        lines = [json.loads(line) for line in (tmp_path / "out/vectors/part-00000.jsonl").read_text().splitlines()]
        vectors = looking.encode_texts(filter(None, TEXTS), mode="lookup")
        impacts = quantise(vectors, QuantisationSettings(100, 255, normalise=True))
        terms = looking.vocabulary.terms
        expected = [{terms[i]: int(v) for i, v in zip(*impacts.row(row), strict=True)} for row in range(len(impacts))]
        assert [line["vector"] for line in lines] == [row or {"[UNK]": 1} for row in expected]
        assert found.documents == 4

    def test_another_mode_is_another_run(self, texts: Path, lookup_folder: Path, tmp_path: Path) -> None:
        encode_texts_file(texts, tmp_path / "tower", model=lookup_folder)
        assert "query_mode" not in json.loads((tmp_path / "tower" / "manifest.json").read_text())["settings"]
        with pytest.raises(OutputError, match=r"holds the output of another run \(query_mode was None, now lookup"):
            encode_texts_file(texts, tmp_path / "tower", model=lookup_folder, query_mode="lookup")
        encode_texts_file(texts, tmp_path / "lookup", model=lookup_folder, query_mode="lookup")
        with pytest.raises(OutputError, match="query_mode was lookup, now None"):
            encode_texts_file(texts, tmp_path / "lookup", model=lookup_folder)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"query_mode": "table"}, "query mode is 'table'; expected 'tower' or 'lookup'"),
            (
                {"query_mode": "lookup", "device": "cuda"},
                "--device cuda is for a tower, and --query-mode lookup runs n",
            ),
            ({"query_mode": "lookup", "head": "onnx"}, "--head onnx is for a tower"),
        ],
    )
    def test_refused(self, options: Any, said: str, texts: Path, lookup_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=said):
            encode_texts_file(texts, tmp_path / "out", model=lookup_folder, **options)
        assert not (tmp_path / "out").exists()

    def test_a_model_without_weights(self, texts: Path, bundle_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="random has no weights for texts without its tower"):
            encode_texts_file(texts, tmp_path / "out", model=bundle_folder, query_mode="lookup")
        assert not (tmp_path / "out").exists()


def test_a_search_with_words_that_are_looked_up(
    looking: LexLIPEncoder,
    lookup_folder: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encode_folder(photographs, tmp_path / "out", model=lookup_folder, top_k=150, threads=1, decode_workers=0)
    index = Index.build(tmp_path / "out", tmp_path / "idx", threads=1)
    hits = index.search("a black dog", mode="lookup")
    assert hits
    assert hits == index.search(looking.encode_query("a black dog", mode="lookup"))
    assert hits != index.search("a black dog")
    assert {term for hit in hits for term, _ in hit.terms} <= set(by_hand(looking, "a black dog", "once"))
    picture = photographs / "a.jpg"  # which no mode of texts concerns
    assert index.search(["a black dog", picture], mode="lookup") == [hits, index.search(picture)]
    assert index.search("日本", mode="lookup") == []
    monkeypatch.setattr(Index, "takes", "texts")  # an index of BM25 needs Java
    with pytest.raises(InputError, match="is for the engine exact, which asks no model; leave 'lookup' out"):
        index.search("a dog", mode="lookup")
