"""DistilBERT folders, as most public sparse encoders are: the same vectors as transformers' own class, or a refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lexlip_export import ImportOptions, export_bundle
from lexlip_export.sources import load_source
from lexlip_infer import BundleError, LexLIPEncoder

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a the dog cat run ##s on green grass . two boat red".split()  # noqa: SIM905
TEXTS = ["A dog runs on green grass.", "two cats", "zebra", "the red boat " * 9]


@pytest.fixture(scope="module", params=["tied", "untied"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DistilBertForMaskedLM with its vocabulary, as transformers saves them."""
    from transformers import BertTokenizer, DistilBertConfig, DistilBertForMaskedLM

    torch.manual_seed(0)
    model = DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=len(WORDS),
            dim=32,
            n_layers=2,
            n_heads=4,
            hidden_dim=48,
            max_position_embeddings=24,
            initializer_range=0.3,
            tie_word_embeddings=request.param == "tied",
        )
    )
    torch.nn.init.normal_(model.vocab_projector.bias)
    folder: Path = tmp_path_factory.mktemp("distilbert") / "random"
    model.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}, model_max_length=24).save_pretrained(folder)
    return folder


def test_vectors_are_those_of_transformers(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, DistilBertForMaskedLM

    model = DistilBertForMaskedLM.from_pretrained(folder, local_files_only=True).eval()
    tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(
        TEXTS, padding=True, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        logits = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
    logits = logits.masked_fill(tokens["attention_mask"].unsqueeze(-1) == 0, -torch.inf)
    expected = torch.log1p(torch.relu(logits.amax(1))).numpy()
    export_bundle(folder, tmp_path / "bundle")
    encoder = LexLIPEncoder.from_pretrained(tmp_path / "bundle", threads=1)
    found = encoder.encode_texts(TEXTS, top_k=len(WORDS)).to_dense()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert (expected > 0).any(axis=1).all()


def test_another_architecture_of_it(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "model")
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors | {"qa_outputs.weight": torch.ones(2, 32)}, copy / "model.safetensors")
    with pytest.raises(BundleError, match=r"has unknown tensor qa_outputs\.weight"):
        load_source(copy, ImportOptions())
    lacking = {name: values for name, values in tensors.items() if "layer.1.sa_layer_norm.bias" not in name}
    save_file(lacking, copy / "model.safetensors")
    with pytest.raises(BundleError, match=r"lacks tensor bert\.encoder\.layer\.1\.attention\.output\.LayerNorm\.bias"):
        load_source(copy, ImportOptions())
    save_file({"a": torch.ones(2)}, copy / "model.safetensors")
    with pytest.raises(BundleError, match=r"lacks the tensor distilbert\.embeddings\.word_embeddings\.weight"):
        load_source(copy, ImportOptions())
    save_file(tensors, copy / "model.safetensors")
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"activation": "relu"}))
    with pytest.raises(BundleError, match="hidden_act is 'relu'; our text tower has 'gelu'"):
        load_source(copy, ImportOptions())
