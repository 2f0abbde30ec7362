"""Query encoders that are a table of weights: against sentence-transformers' own classes, a dictionary, and torch."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from lexlip_export import ExportSettings, ImportOptions, export_bundle
from lexlip_export.cli import run
from lexlip_export.licence import licence_notice
from lexlip_infer import BundleError, InputError, LexLIPEncoder, encode_texts_file
from lexlip_infer.search.index import Index

st = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red query : Dog é e 狗".split()  # noqa: SIM905
TEXTS = ["A dog runs on green grass.", "two cats", "the red boat " * 5 + "two dog", "Dog é 狗dog e", "[MASK] cat", ""]
CAPACITY = 24


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    return BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=CAPACITY)


def table(seed: int = 0) -> torch.Tensor:
    """Random weights, a third of them 0."""
    torch.manual_seed(seed)
    weights = torch.rand(len(WORDS)) * 9
    return weights * (torch.rand(len(WORDS)) > 0.33)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Queries alone, as the library writes them down. Treat as read-only."""
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    folder = tmp_path_factory.mktemp("static") / "alone"
    module = SparseStaticEmbedding(bert_tokenizer(), weight=table())
    st.SparseEncoder(modules=[module], device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Queries by a table, documents by BERT. Treat as read-only."""
    from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=CAPACITY, initializer_range=0.3, **sizes)
    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("static") / "routed"
    BertForMaskedLM(config).save_pretrained(bert)
    bert_tokenizer().save_pretrained(bert)
    documents = [Transformer(str(bert), transformer_task="fill-mask"), SpladePooling()]
    queries = [SparseStaticEmbedding(bert_tokenizer(), weight=table(1))]
    router = Router.for_query_document(query_modules=queries, document_modules=documents)
    st.SparseEncoder(modules=[router], device="cpu", similarity_fn_name="dot").save_pretrained(str(folder))
    return folder


def theirs(folder: Path, way: str) -> Any:
    encoder = st.SparseEncoder(str(folder), device="cpu", local_files_only=True)
    return getattr(encoder, way)(TEXTS).to_dense().numpy()


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def idf_folder(folder: Path, weights: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "idf.json").write_text(json.dumps(weights))
    bert_tokenizer().save_pretrained(folder)
    return folder


def vsplade_folder(folder: Path, rows: int = len(WORDS) + 3, **changes: torch.Tensor) -> tuple[Path, torch.Tensor]:
    """In V-SPLADE's layout, with what its table has to hold: softplus(E p + c)."""
    folder.mkdir()
    torch.manual_seed(2)
    embeddings, projection, bias = torch.randn(rows, 8), torch.randn(1, 8), torch.randn(1)
    tensors = {
        "query_encoder.embeddings.weight": embeddings.bfloat16(),
        "query_encoder.projection.weight": projection.bfloat16(),
        "query_encoder.projection.bias": bias.bfloat16(),
        "encoder.mlm_head.norm.weight": torch.ones(4),
    }
    save_file(tensors | changes, folder / "model.safetensors")
    bert_tokenizer().save_pretrained(folder)
    logits = (embeddings.bfloat16().double() * projection.bfloat16().double()).sum(1) + bias.bfloat16().double()
    return folder, torch.log1p(torch.exp(logits))


def test_a_table_alone_is_the_librarys(alone: Path, tmp_path: Path) -> None:
    export_bundle(alone, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    expected = theirs(alone, "encode_query")
    for way in ("encode_texts", "encode_query", "encode_document"):
        np.testing.assert_array_equal(getattr(encoder, way)(TEXTS).to_dense(), expected)
    assert (expected > 0).sum() > 10
    manifest = encoder.manifest
    assert (manifest.format_version, manifest.hidden_size, manifest.similarity) == (5, 0, "dot")
    assert sorted(manifest.files) == ["README.md", "heads.safetensors", "tokenizer.json"]
    # The heaviest term just reaches the cap, where a scale of 100 would have made many equal.
    assert manifest.quantisation.scale * float(table().max()) == pytest.approx(manifest.quantisation.cap, rel=1e-3)
    with pytest.raises(BundleError, match="has no text tower, it looks texts up; use the query mode 'lookup'"):
        encoder.encode_texts(TEXTS, mode="tower")
    with pytest.raises(BundleError, match="has no image tower; it encodes texts alone"):
        encoder.encode_images([])


def test_prompts_and_lengths_of_a_table(alone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(alone, tmp_path / "alone")
    change(
        folder / "config_sentence_transformers.json", prompts={"query": "query: ", "document": ""}, max_active_dims=3
    )
    change(folder / "tokenizer_config.json", model_max_length=8, do_lower_case=False)
    export_bundle(folder, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    assert encoder.manifest.top_k.text == 3
    np.testing.assert_array_equal(encoder.encode_query(TEXTS).to_dense(), theirs(folder, "encode_query"))


def test_queries_are_looked_up_and_documents_encoded(routed: Path, tmp_path: Path) -> None:
    export_bundle(routed, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    queries, documents = theirs(routed, "encode_query"), theirs(routed, "encode_document")
    np.testing.assert_array_equal(encoder.encode_query(TEXTS, top_k=64).to_dense(), queries)
    for found in (encoder.encode_document(TEXTS, top_k=64), encoder.encode_texts(TEXTS, top_k=64)):
        np.testing.assert_allclose(found.to_dense(), documents, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(encoder.encode_texts(TEXTS, top_k=64, prompt_name="query").to_dense(), queries)
    np.testing.assert_allclose(encoder.encode_query(TEXTS, top_k=64, mode="tower").to_dense(), documents, atol=1e-4)
    text = encoder.manifest.text
    assert text is not None
    assert (text.static, text.query_mode, encoder.manifest.format_version) == ("once", "lookup", 5)
    np.testing.assert_allclose(
        encoder.similarity(encoder.encode_query(TEXTS, top_k=64), encoder.encode_document(TEXTS, top_k=64)),
        queries @ documents.T,
        rtol=1e-4,
        atol=1e-3,
    )


def test_a_search_looks_queries_up(routed: Path, tmp_path: Path) -> None:
    export_bundle(routed, tmp_path / "bundle")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:3]))
    encode_texts_file(tmp_path / "texts.txt", tmp_path / "out", model=tmp_path / "bundle")
    settings = json.loads((tmp_path / "out" / "manifest.json").read_text())["settings"]
    assert "query_mode" not in settings  # documents went through the tower
    index = Index.build(tmp_path / "out", tmp_path / "idx", threads=1)
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    assert index.search("two dog") == index.search(encoder.encode_query("two dog"))
    assert index.search("two dog") != index.search("two dog", mode="tower")
    encode_texts_file(tmp_path / "texts.txt", tmp_path / "queries", model=tmp_path / "bundle", prompt="query")
    settings = json.loads((tmp_path / "queries" / "manifest.json").read_text())["settings"]
    assert settings["query_mode"] == "lookup"


def test_a_run_with_a_table(alone: Path, tmp_path: Path) -> None:
    export_bundle(alone, tmp_path / "bundle")
    (tmp_path / "texts.txt").write_text("\n".join(filter(None, TEXTS)))
    done = encode_texts_file(tmp_path / "texts.txt", tmp_path / "out", model=tmp_path / "bundle")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (done.documents, manifest["settings"]["query_mode"]) == (5, "lookup")
    assert "device" not in manifest["settings"]
    index = Index.build(tmp_path / "out", tmp_path / "idx", threads=1)
    assert [hit.id for hit in index.search("green grass")] == ["1"]


def test_the_table_of_opensearch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    weights = {"dog": 5.25, "run": 3, "green": 0.5, "[CLS]": 7.0}
    folder = idf_folder(tmp_path / "doc", weights)
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    monkeypatch.setattr(sys, "argv", ["lexlip-export", str(folder), str(tmp_path / "bundle")])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 0
    said = "The README.md beside them states: license apache-2.0."
    assert said in capsys.readouterr().out
    assert said in (tmp_path / "bundle" / "README.md").read_text()
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    (found,) = encoder.decode(encoder.encode_query("A dog dog runs"))
    assert found == [("dog", 5.25), ("run", 3.0)]  # [CLS] is in no query, however much it weighs
    export_bundle(folder / "idf.json", tmp_path / "file", options=ImportOptions(tokenizer=folder / "tokenizer.json"))
    again = LexLIPEncoder.from_pretrained(tmp_path / "file", threads=1)
    assert np.array_equal(again.encode_query(TEXTS).to_dense(), encoder.encode_query(TEXTS).to_dense())


def test_a_table_beside_its_document_encoder(routed: Path, tmp_path: Path) -> None:
    """An older folder of OpenSearch: a masked language model, and idf.json without a Router."""
    folder = shutil.copytree(routed / "document_0_Transformer", tmp_path / "doc")
    for name in ("sentence_bert_config.json", "modules.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "idf.json").write_text(json.dumps({"dog": 2.5, "[SEP]": 3.0}))
    export_bundle(folder, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    assert encoder.decode(encoder.encode_query("a dog")) == [[("dog", 2.5)]]
    np.testing.assert_allclose(
        encoder.encode_document(TEXTS, top_k=64).to_dense(), theirs(routed, "encode_document"), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("rows", [len(WORDS) - 2, len(WORDS), len(WORDS) + 3])
def test_the_query_half_of_v_splade(rows: int, tmp_path: Path) -> None:
    folder, weights = vsplade_folder(tmp_path / "v", rows)
    export_bundle(folder, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vectors = encoder.encode_query(TEXTS).to_dense()
    for vector, text in zip(vectors, TEXTS, strict=True):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        counts = Counter(i for i in ids if 5 <= i < rows)  # neither special nor beyond the table
        expected = np.zeros(len(WORDS))
        for i, count in counts.items():
            expected[i] = float(weights[i]) * count
        np.testing.assert_allclose(vector, expected, rtol=1e-5)
    assert max(Counter(tokenizer.encode(TEXTS[2]).ids).values()) > 1
    text = encoder.manifest.text
    assert text is not None
    assert text.static == "sum"
    assert "No licence of the weights is stated" in (tmp_path / "bundle" / "README.md").read_text()


def test_pickled_weights_go_through_the_restricted_loader(alone: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(alone, tmp_path / "alone")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    export_bundle(folder, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    np.testing.assert_array_equal(encoder.encode_query(TEXTS).to_dense(), theirs(alone, "encode_query"))

    class Malicious:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"weight": Malicious()}, folder / "pytorch_model.bin")
    refused(folder, tmp_path, "")
    assert not (tmp_path / "ran").exists()


def refused(checkpoint: Path, tmp_path: Path, said: str, **options: Any) -> None:
    """In one line that says this, and nothing is written."""
    with pytest.raises(BundleError) as raised:
        export_bundle(checkpoint, tmp_path / "refused", options=ImportOptions(**options))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"dog": -0.5}, "weights reach from -0.5 to 0; expected numbers from 0"),
        ({"dog": 1e9}, "weights reach from 0 to 1e+09"),
        ({"dog": 1e300}, "weights reach from 0 to inf"),
        ({"dog": 0}, "every weight is 0"),
        ({"dog": "2"}, "'dog' weighs '2'; expected a number"),
        ({"dog": True}, "'dog' weighs True; expected a number"),
        ({"zebra": 2.0, "lion": 1.0}, "the tokenizer lacks 'zebra' and 1 more"),
        ({}, "not a table of weights"),
    ],
)
def test_tables_that_are_none(weights: dict[str, Any], said: str, tmp_path: Path) -> None:
    refused(idf_folder(tmp_path / "doc", weights), tmp_path, said)


def test_half_a_download(alone: Path, tmp_path: Path) -> None:
    folder = idf_folder(tmp_path / "doc", {"dog": 1.0})
    (folder / "idf.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    refused(folder, tmp_path, "is a pointer of Git LFS, not the file; git lfs pull gets it")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "idf.json").write_text('{"dog": 1.0}')
    refused(bare, tmp_path, "holds no tokenizer")
    copy = shutil.copytree(alone, tmp_path / "alone")
    (copy / "model.safetensors").unlink()
    refused(copy, tmp_path, "holds no weights; expected model.safetensors")
    save_file({"weight": table(), "bias": table()}, copy / "model.safetensors")
    refused(copy, tmp_path, "holds tensors bias, weight; expected weight alone")
    save_file({"weight": table()[:-1].clone()}, copy / "model.safetensors")
    refused(copy, tmp_path, f"weights are ({len(WORDS) - 1},), the tokenizer has {len(WORDS)} terms")
    save_file({"weight": torch.full((len(WORDS),), torch.nan)}, copy / "model.safetensors")
    refused(copy, tmp_path, "weights reach from nan to nan")


def test_other_routes(routed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(routed, tmp_path / "routed")
    path, whole = folder / "router_config.json", json.loads((routed / "router_config.json").read_text())

    def say(**changes: Any) -> None:
        path.write_text(json.dumps(whole | changes))

    say(structure={"query": whole["structure"]["query"]})
    refused(folder, tmp_path, "routes are query; a bundle can only have one for query and one for document")
    say(parameters=whole["parameters"] | {"default_route": "query"})
    refused(folder, tmp_path, "default_route is 'query'; a bundle can only have 'document'")
    say(parameters=whole["parameters"] | {"route_mappings": {"('query', 'text')": "query"}})
    refused(folder, tmp_path, "routes are document, query by mappings")
    say(structure=whole["structure"] | {"query": whole["structure"]["document"]})
    refused(folder, tmp_path, "queries go through Transformer, SpladePooling; expected SparseStaticEmbedding")
    say(structure=whole["structure"] | {"document": whole["structure"]["query"]})
    refused(folder, tmp_path, "made of SparseStaticEmbedding and SparseStaticEmbedding; expected")
    say(types={"../x": "a.B"}, structure={"query": ["../x"], "document": ["../x"]})
    refused(folder, tmp_path, "a module is in '../x', outside the folder")
    path.write_text("[]")
    refused(folder, tmp_path, "not the routes of sentence-transformers' Router")
    path.unlink()
    refused(folder, tmp_path, "missing, so nobody knows what the Router leads to")
    say()
    change(folder / "query_0_SparseStaticEmbedding" / "tokenizer_config.json", do_lower_case=False)
    refused(folder, tmp_path, "queries and documents have different tokenizers")


def test_other_tensors_of_v_splade(tmp_path: Path) -> None:
    folder, _ = vsplade_folder(tmp_path / "a", **{"decoder.weight": torch.ones(2)})
    refused(folder, tmp_path, "has the unknown tensor decoder.weight")
    folder, _ = vsplade_folder(tmp_path / "b", **{"query_encoder.projection.weight": torch.ones(1, 9)})
    refused(folder, tmp_path, "expected (V, D), (1, D) and (1,)")
    tensors = load_file(folder / "model.safetensors")
    del tensors["query_encoder.projection.bias"]
    save_file(tensors, folder / "model.safetensors")
    refused(folder, tmp_path, "lacks query_encoder.projection.bias")


def test_options_that_a_table_has_no_use_for(alone: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="storage is of a model, and alone is a table of term weights; leave it out"):
        export_bundle(alone, tmp_path / "refused", ExportSettings(storage="f16"))
    with pytest.raises(InputError, match="--image-size is for official checkpoint files"):
        export_bundle(alone, tmp_path / "refused", options=ImportOptions(image_size=224))
    assert not (tmp_path / "refused").exists()
    export_bundle(alone, tmp_path / "bundle", ExportSettings(text_top_k=2, scale=3.0))
    manifest = LexLIPEncoder.from_pretrained(tmp_path / "bundle").manifest
    assert (manifest.top_k.text, manifest.quantisation.scale) == (2, 3.0)


def test_a_card_that_cannot_be_read_is_not_called_silent(tmp_path: Path) -> None:
    """It may state a licence."""
    (tmp_path / "README.md").mkdir()
    with pytest.raises(BundleError, match=r"README\.md: "):
        licence_notice(tmp_path, "Weights.")
