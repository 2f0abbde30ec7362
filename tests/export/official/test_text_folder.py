"""Text-only models from Hugging Face folders: the same vectors as sentence-transformers, or a refusal."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file, save_file

from lexlip_export import ImportOptions, export_bundle
from lexlip_export.sources import load_source
from lexlip_infer import BundleError, InputError, LexLIPEncoder

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red".split()  # noqa: SIM905
TEXTS = ["A dog runs on green grass.", "two cats", "zebra", "the red boat " * 9]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BertForMaskedLM with its vocabulary, as transformers saves them."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        initializer_range=0.3,
        layer_norm_eps=1e-7,
    )
    model = BertForMaskedLM(config)
    torch.nn.init.normal_(model.cls.predictions.bias)
    folder = tmp_path_factory.mktemp("huggingface") / "random-splade"
    model.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=24).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "model")


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def sentence_transformers(folder: Path, saved: Path | None = None) -> npt.NDArray[np.float32]:
    module = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    modules = pytest.importorskip("sentence_transformers.sparse_encoder.modules")
    encoder = module.SparseEncoder(
        modules=[modules.MLMTransformer(str(folder)), modules.SpladePooling("max")], device="cpu", local_files_only=True
    )
    if saved is not None:
        encoder.save_pretrained(str(saved))
    vectors: npt.NDArray[np.float32] = encoder.encode(TEXTS, convert_to_tensor=True).to_dense().numpy()
    return vectors


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LexLIPEncoder:
    output = tmp_path_factory.mktemp("bundles") / "splade"
    export_bundle(folder, output)
    return LexLIPEncoder.from_pretrained(output, threads=1)


@pytest.mark.filterwarnings("ignore")  # other people's
def test_vectors_equal_those_of_sentence_transformers(
    folder: Path, encoder: LexLIPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    expected = sentence_transformers(folder, tmp_path / "saved")
    actual = encoder.encode_texts(TEXTS, top_k=len(WORDS)).to_dense()
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert np.array_equal(actual > 0, expected > 0)
    # The same model as sentence-transformers writes it down.
    source = load_source(tmp_path / "saved", ImportOptions())
    state = load_source(folder, ImportOptions()).model.state_dict()
    assert all(torch.equal(values, state[name]) for name, values in source.model.state_dict().items())
    assert source.similarity == "dot"


def test_bundle_has_one_tower(encoder: LexLIPEncoder) -> None:
    manifest = encoder.manifest
    assert manifest.image is None
    assert manifest.text is not None
    assert (manifest.name, manifest.similarity, manifest.text.max_length) == ("random-splade", "dot", 24)
    assert not [name for name in manifest.files if "image" in name]
    assert "text tower BERT with 2 layers of width 32" in (encoder.bundle.folder / "README.md").read_text()
    with pytest.raises(BundleError, match="has no image tower"):
        encoder.encode_images([np.zeros((8, 8, 3), np.uint8)])


def test_pytorch_model_bin_is_the_same_model(copy: Path, folder: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): values
        for name, values in tensors.items()
    }
    renamed |= {"cls.seq_relationship.weight": torch.zeros(2, 32), "bert.pooler.dense.weight": torch.zeros(32, 32)}
    renamed["cls.predictions.decoder.weight"] = renamed["bert.embeddings.word_embeddings.weight"]
    renamed["bert.embeddings.position_ids"] = torch.arange(24)[None]
    expected = load_source(folder, ImportOptions()).model.state_dict()
    for zipped in (True, False):
        torch.save(renamed, copy / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        state = load_source(copy, ImportOptions()).model.state_dict()
        assert all(torch.equal(values, expected[name]) for name, values in state.items())


class Attack:
    """Pickled, it makes whoever unpickles it touch a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pytorch_model_bin_has_no_effect(zipped: bool, copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").unlink()
    content = {"bert.embeddings": Attack(tmp_path / "marker")}
    torch.save(content, copy / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(BundleError, match="in the state dict is no tensor" if zipped else "damaged, or not written"):
        load_source(copy, ImportOptions())
    assert not (tmp_path / "marker").exists()


def test_vocab_txt_will_do(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tokenizer = load_source(copy, ImportOptions()).tokenizer
    assert tokenizer is not None
    assert tokenizer.encode("Dogs").tokens == ["[CLS]", "dog", "##s", "[SEP]"]
    change(copy / "tokenizer_config.json", do_lower_case=False)
    tokenizer = load_source(copy, ImportOptions()).tokenizer
    assert tokenizer is not None
    assert tokenizer.encode("Dogs").tokens == ["[CLS]", "[UNK]", "[SEP]"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "roberta"}, "of type 'roberta'; text towers are imported from BERT and DistilBERT alone"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ({"num_attention_heads": 5}, "5 attention heads do not divide"),
        ({"layer_norm_eps": "small"}, "LayerNorm eps 'small'; expected"),
        ({"tie_word_embeddings": False}, r"lacks tensor cls\.predictions\.decoder\.weight"),
    ],
)
def test_other_arithmetic_is_refused(settings: dict[str, Any], message: str, copy: Path) -> None:
    change(copy / "config.json", **settings)
    with pytest.raises(BundleError, match=message):
        load_source(copy, ImportOptions())


def test_a_decoder_must_be_tied_or_untied(copy: Path, folder: Path) -> None:
    tensors = load_file(copy / "model.safetensors")
    decoder = tensors["bert.embeddings.word_embeddings.weight"] + 1
    save_file(tensors | {"cls.predictions.decoder.weight": decoder}, copy / "model.safetensors")
    with pytest.raises(BundleError, match=r"decoder\.weight differs from the word embeddings"):
        load_source(copy, ImportOptions())
    change(copy / "config.json", tie_word_embeddings=False)
    model = load_source(copy, ImportOptions()).model
    assert torch.equal(model.text_head.weight, decoder)
    assert not torch.equal(model.text_tower.word_embeddings, decoder)


def test_damage_is_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: values for name, values in tensors.items() if not name.startswith("cls")}, weights)
    with pytest.raises(BundleError, match="without a masked-language-model head"):
        load_source(copy, ImportOptions())
    save_file(tensors | {"bert.extra": torch.zeros(1)}, weights)
    with pytest.raises(BundleError, match=r"has unknown tensor bert\.extra"):
        load_source(copy, ImportOptions())
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"model\.safetensors: damaged"):
        load_source(copy, ImportOptions())
    weights.unlink()
    with pytest.raises(BundleError, match="holds no weights"):
        load_source(copy, ImportOptions())
    with pytest.raises(InputError, match="--image-size is for official"):
        load_source(copy, ImportOptions(image_size=64))


@pytest.mark.parametrize(
    ("kinds", "pooling", "message"),
    [
        (["MLMTransformer", "SpladePooling"], {"pooling_strategy": "sum"}, "pooling_strategy is 'sum'"),
        (["MLMTransformer", "SpladePooling"], {"activation_function": "log1p_relu"}, "activation_function is"),
        (["Transformer", "Pooling"], {}, "made of Transformer, Pooling; expected"),
        (["Router", "SpladePooling", "SpladePooling2"], {}, "made of Router"),
    ],
)
def test_other_sentence_transformers_are_refused(
    kinds: list[str], pooling: dict[str, str], message: str, copy: Path
) -> None:
    modules = [{"type": f"a.b.{kind}", "path": "1_Pooling" if i else ""} for i, kind in enumerate(kinds)]
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(BundleError, match=message):
        load_source(copy, ImportOptions())
