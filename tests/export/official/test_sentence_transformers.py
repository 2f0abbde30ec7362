"""A SPLADE folder of sentence-transformers: each of its settings gives the vectors of that library, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lexlip_export import ExportSettings, ImportOptions, export_bundle
from lexlip_export.sources import Source, load_source
from lexlip_infer import BundleError, InputError, LexLIPEncoder
from lexlip_infer.inputs.texts import TextTokenizer

st = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # other people's

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red query : Dog é e 狗".split()  # noqa: SIM905
TEXTS = ["A dog runs on green grass.", "two cats", "the red boat " * 5 + "two dog", "Dog é 狗dog e", "[MASK] cat", ""]
SPARSE, TRANSFORMER, TOKENIZER = (
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the library writes it down. Treat as read-only."""
    from sentence_transformers.sparse_encoder.models import MLMTransformer, SpladePooling
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=24, initializer_range=0.3, **sizes)
    bert, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("sparse") / "saved"
    BertForMaskedLM(config).save_pretrained(bert)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=24).save_pretrained(bert)
    st.SparseEncoder(modules=[MLMTransformer(str(bert)), SpladePooling()], device="cpu").save_pretrained(str(folder))
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "model")


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def theirs(folder: Path, way: str = "encode", **options: Any) -> npt.NDArray[np.float32]:
    encoder = st.SparseEncoder(str(folder), device="cpu", local_files_only=True)
    vectors: npt.NDArray[np.float32] = getattr(encoder, way)(TEXTS, **options).to_dense().numpy()
    return vectors


def ours(source: Source, prompt_name: str | None = None) -> npt.NDArray[np.float32]:
    """What the exported graphs compute, in torch: an export takes seconds."""
    assert source.tokenizer is not None
    assert source.text is not None
    tokenize = TextTokenizer(source.tokenizer.to_str().encode(), source.text.max_length, source.text.truncation_side)
    ids, mask = tokenize(TEXTS, source.text.prompt(prompt_name))
    with torch.no_grad():
        weights: npt.NDArray[np.float32] = source.model.text_weights(torch.tensor(ids), torch.tensor(mask)).numpy()
    return weights


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        (SPARSE, {}),
        (SPARSE, {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "query"}),
        (SPARSE, {"prompts": {"title": "red "}, "default_prompt_name": "title"}),
        (SPARSE, {"prompts": {"title": "red "}, "default_prompt_name": "document"}),
        (TRANSFORMER, {"max_seq_length": 9}),
        (TRANSFORMER, {"max_seq_length": 500, "unpad_inputs": False, "query_length": None}),
        (TRANSFORMER, {"do_lower_case": True}),
        (TRANSFORMER, {"processing_kwargs": {"text": {"max_length": 6, "truncation": True}}, "max_seq_length": 9}),
        (TRANSFORMER, {"processor_kwargs": {"model_max_length": 7}, "max_seq_length": 9}),
        (TRANSFORMER, {"tokenizer_args": {"do_lower_case": False}, "model_args": {"attn_implementation": "eager"}}),
        (TOKENIZER, {"model_max_length": 8}),
        (TOKENIZER, {"model_max_length": 8, "truncation_side": "left"}),
        (TOKENIZER, {"do_lower_case": False}),
        (TOKENIZER, {"strip_accents": False}),
        (TOKENIZER, {"tokenize_chinese_chars": False}),
        (TOKENIZER, {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}),
        ("special_tokens_map.json", {"cls_token": "[CLS]", "unk_token": {"content": "[UNK]"}}),
        ("1_SpladePooling/config.json", {"embedding_dimension": len(WORDS), "chunk_size": 2}),
    ],
)
def test_a_setting_is_kept(file: str, settings: dict[str, Any], copy: Path) -> None:
    change(copy / file, **settings)
    source = load_source(copy, ImportOptions())
    expected = theirs(copy)
    np.testing.assert_allclose(ours(source), expected, atol=1e-4)
    assert (expected > 0).any(axis=1).all()


def test_lower_case_comes_before_a_tokenizer_that_has_none(copy: Path) -> None:
    change(copy / TOKENIZER, do_lower_case=False)
    change(copy / TRANSFORMER, do_lower_case=True)
    np.testing.assert_allclose(ours(load_source(copy, ImportOptions())), theirs(copy), atol=1e-4)


def test_a_general_transformer_module_is_the_same_model(copy: Path) -> None:
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "sentence_transformers.base.modules.transformer.Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    np.testing.assert_allclose(ours(load_source(copy, ImportOptions())), theirs(copy), atol=1e-4)
    settings = json.loads((copy / TRANSFORMER).read_text())
    del settings["transformer_task"]
    (copy / TRANSFORMER).write_text(json.dumps(settings))
    with pytest.raises(BundleError, match="transformer_task is None; expected 'fill-mask'"):
        load_source(copy, ImportOptions())


def test_the_bundle_encodes_queries_and_documents_as_the_library_does(copy: Path, tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "the ", "title": "red "}
    change(copy / SPARSE, prompts=prompts, default_prompt_name="title", max_active_dims=5)
    change(copy / TOKENIZER, model_max_length=8, truncation_side="left")
    export_bundle(copy, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    assert encoder.manifest.top_k.text == 5
    for way, mine in (("encode", "encode_texts"), ("encode_query", "encode_query"), ("encode_document",) * 2):
        vectors = getattr(encoder, mine)(TEXTS).to_dense()
        np.testing.assert_allclose(vectors, theirs(copy, way), atol=1e-3)
    named = encoder.encode_texts(TEXTS, prompt_name="document").to_dense()
    np.testing.assert_allclose(named, theirs(copy, prompt_name="document"), atol=1e-3)
    with pytest.raises(InputError, match="no prompt 'passage'; expected one of 'query', 'document', 'title'"):
        encoder.encode_texts(TEXTS, prompt_name="passage")
    # An older version of this package would encode without the prompts: it is told not to.
    assert encoder.manifest.format_version == 3
    # What the user asks for wins over the folder.
    export_bundle(copy, tmp_path / "other", ExportSettings(text_top_k=3))
    assert LexLIPEncoder.from_pretrained(tmp_path / "other").manifest.top_k.text == 3


def test_a_bundle_without_prompts_is_of_the_older_format(saved: Path, tmp_path: Path) -> None:
    export_bundle(saved, tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "lexlip.json").read_text())
    assert manifest["format_version"] == 2
    assert manifest["text"] == {"max_length": 24}


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        (SPARSE, {"model_type": "SentenceTransformer"}, "model_type is 'SentenceTransformer'"),
        (SPARSE, {"similarity_fn_name": "euclidean"}, "similarity_fn_name is 'euclidean'; expected dot or cosine"),
        (SPARSE, {"max_active_dims": 0}, "max_active_dims is 0; expected a number"),
        (SPARSE, {"prompts": {"query": 3}}, "prompts is {'query': 3}; expected texts"),
        (SPARSE, {"prompts": ["query: "]}, r"prompts is \['query: '\]; expected dict"),
        (SPARSE, {"prompts": {"query": "a"}, "default_prompt_name": "title"}, "default_prompt_name is 'title'"),
        (SPARSE, {"truncate_dim": 8}, "truncate_dim is 8; it is not known here"),
        (TRANSFORMER, {"max_seq_length": "9"}, "max_seq_length is '9'; expected a number of tokens"),
        (TRANSFORMER, {"max_seq_length": 2}, "a text length of 2"),
        (TRANSFORMER, {"query_length": 8}, "query_length is 8; it is not known here"),
        (TRANSFORMER, {"query_expansion": {"strategy": "fixed"}}, "query_expansion is"),
        (TRANSFORMER, {"transformer_task": "feature-extraction"}, "transformer_task is 'feature-extraction'"),
        (TRANSFORMER, {"module_output_name": "scores"}, "module_output_name is 'scores'"),
        (TRANSFORMER, {"modality_config": {"message": {}}}, "modality_config is"),
        (TRANSFORMER, {"model_args": {"num_labels": 2}}, r"model_args is \['num_labels'\]"),
        (TRANSFORMER, {"config_args": {"hidden_act": "relu"}}, "config_args is"),
        (TRANSFORMER, {"processing_kwargs": {"text": {"padding": "max_length"}}}, "processing_kwargs is"),
        (TRANSFORMER, {"processing_kwargs": {"text": "all"}}, "processing_kwargs is"),
        (TRANSFORMER, {"processing_kwargs": {"common": {"padding": False, "x": 1}}}, "processing_kwargs is"),
        (TRANSFORMER, {"processor_kwargs": {"model_max_length": "8"}}, "model_max_length is '8'; expected a number"),
        (TRANSFORMER, {"tokenizer_name_or_path": "other"}, "tokenizer_name_or_path is 'other'"),
        (TOKENIZER, {"padding_side": "left"}, "padding_side is 'left'"),
        (TOKENIZER, {"truncation_side": "middle"}, "truncation_side is 'middle'"),
        (TOKENIZER, {"tokenizer_class": "RobertaTokenizer"}, "tokenizer_class is 'RobertaTokenizer'"),
        (TOKENIZER, {"cls_token": "[MASK]"}, r"cls_token is '\[MASK\]'; the tokenizer has '\[CLS\]'"),
        (TOKENIZER, {"unk_token": {"content": "dog"}}, "unk_token is 'dog'"),
        (TOKENIZER, {"never_split": ["dog"]}, "never_split"),
        (TOKENIZER, {"do_lower_case": "yes"}, "do_lower_case is 'yes'; expected true, false or null"),
        (TOKENIZER, {"added_tokens_decoder": {"one": 1}}, "added_tokens_decoder is"),
        (TOKENIZER, {"added_tokens_decoder": {"99": {"content": "<new>"}}}, "added_tokens_decoder has '<new>'"),
        ("1_SpladePooling/config.json", {"threshold": 0.1}, r"threshold is 0\.1; it is not known here"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(file: str, settings: dict[str, Any], message: str, copy: Path) -> None:
    change(copy / file, **settings)
    with pytest.raises(BundleError, match=message):
        load_source(copy, ImportOptions())


def test_more_terms_than_lucene_takes_are_refused(copy: Path, tmp_path: Path) -> None:
    change(copy / SPARSE, max_active_dims=2000)
    with pytest.raises(BundleError, match="keeps 2000 terms of a text, and Lucene allows a query 1024"):
        export_bundle(copy, tmp_path / "bundle")


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        (SPARSE, {"prompts": {"query": "query: "}}, "cannot put the prompt 'query: ' before a query"),
        (TOKENIZER, {"truncation_side": "left"}, "cuts long queries on the right"),
    ],
)
def test_anserinis_graph_has_no_room_for_them(
    file: str, settings: dict[str, Any], message: str, copy: Path, tmp_path: Path
) -> None:
    from lexlip_export.settings import FurtherGraph

    change(copy / file, **settings)
    with pytest.raises(BundleError, match=message):
        export_bundle(copy, tmp_path / "bundle", ExportSettings(graphs=(FurtherGraph.ANSERINI,)))
