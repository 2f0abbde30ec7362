"""An untrained LexLIP from BEiT and BERT folders: every weight where the paper puts it, none random without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lexlip_export import initialise_from_pretrained
from lexlip_export.initialise import app
from lexlip_infer import BundleError, OutputError
from lexlip_training import LexLIP, load_checkpoint

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a dog runs cat".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random models of every kind, saved by transformers."""
    import transformers as hf

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("huggingface")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    beit: dict[str, Any] = sizes | {"image_size": 64, "use_mask_token": True, "initializer_range": 0.2}
    own, shared = {"use_relative_position_bias": True}, {"use_shared_relative_position_bias": True}
    models = {
        "beit": hf.BeitModel(hf.BeitConfig(**beit, **own)),
        "classifier": hf.BeitForImageClassification(hf.BeitConfig(**beit, **own)),
        "masked": hf.BeitForMaskedImageModeling(hf.BeitConfig(**beit, **shared, vocab_size=11)),
        "absolute": hf.BeitModel(hf.BeitConfig(**beit, **own, use_absolute_position_embeddings=True)),
        "bert": hf.BertForMaskedLM(hf.BertConfig(vocab_size=len(WORDS), **sizes, initializer_range=0.2)),
        "headless": hf.BertModel(hf.BertConfig(vocab_size=len(WORDS), **sizes)),
        "narrow": hf.BertForMaskedLM(hf.BertConfig(vocab_size=len(WORDS), **(sizes | {"hidden_size": 16}))),
    }
    for name, model in models.items():
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.05)
        model.save_pretrained(root / name)
        (root / name / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return root


@torch.no_grad()
def reference(folder: Path, pixels: Tensor) -> Tensor:
    """Hidden states behind the last block, before any norm of BEiT's own."""
    from transformers import BeitModel

    model = BeitModel.from_pretrained(folder, local_files_only=True).eval()
    hidden: Tensor = model(pixels, output_hidden_states=True).hidden_states[-1]
    return hidden


@pytest.mark.parametrize("beit", ["beit", "classifier", "masked"])
@pytest.mark.filterwarnings("ignore")  # transformers', about weights it leaves out
@torch.no_grad()
def test_image_tower_is_beit(beit: str, folders: Path) -> None:
    model, _ = initialise_from_pretrained(folders / beit, folders / "bert")
    pixels = torch.randn(2, 3, 64, 64)
    tokens = model.image_tower.backbone_tokens(pixels)
    torch.testing.assert_close(tokens, reference(folders / beit, pixels), rtol=0, atol=2e-5)
    assert (model.image_tower.norm.weight == 1).all()
    assert (model.image_tower.norm.bias == 0).all()


@torch.no_grad()
def test_text_tower_and_head_are_bert(folders: Path) -> None:
    from transformers import BertForMaskedLM

    model, tokenizer = initialise_from_pretrained(folders / "beit", folders / "bert")
    bert = BertForMaskedLM.from_pretrained(folders / "bert", local_files_only=True).eval()
    ids = torch.tensor([tokenizer.encode("A dog runs").ids])
    mask = torch.ones_like(ids)
    logits = bert(input_ids=ids, attention_mask=mask).logits
    expected = (1 + logits.relu().amax(1)).log()
    torch.testing.assert_close(model.text_weights(ids, mask), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("bert", ["bert", "headless"])
def test_both_decoders_are_the_word_embeddings(bert: str, folders: Path) -> None:
    model, _ = initialise_from_pretrained(folders / "beit", folders / bert)
    embeddings = model.text_tower.word_embeddings
    heads = model.image_head.state_dict(), model.text_head.state_dict()
    for head in (model.image_head, model.text_head):
        assert torch.equal(head.weight, embeddings)
        assert head.weight is not embeddings
    assert all(torch.equal(values, heads[1][name]) for name, values in heads[0].items())
    pointers = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(pointers) == len(set(pointers))


def run(*arguments: Path) -> None:
    app([str(argument) for argument in arguments], standalone_mode=False)


def test_command_writes_a_checkpoint(folders: Path, tmp_path: Path) -> None:
    run(folders / "beit", folders / "bert", tmp_path / "start")
    model, tokenizer, record = load_checkpoint(tmp_path / "start")
    assert isinstance(model, LexLIP)
    assert (model.config.name, tokenizer.get_vocab_size()) == ("lexlip-base", len(WORDS))
    assert record["notice"].startswith("Not trained")
    with pytest.raises(OutputError, match="exists already"):
        run(folders / "beit", folders / "bert", tmp_path / "start")
    assert [path.name for path in tmp_path.iterdir()] == ["start"]


def test_other_models_are_refused(folders: Path, tmp_path: Path) -> None:
    for beit, bert, message in [
        ("absolute", "bert", "use_absolute_position_embeddings is True"),
        ("bert", "bert", "model_type is 'bert'; our image tower has 'beit'"),
        ("beit", "beit", "of type 'beit'; text towers are imported from BERT and DistilBERT alone"),
        ("beit", "narrow", "a BEiT of width 32, a BERT of 16"),
        ("beit", "nothing", "cannot be read"),
    ]:
        with pytest.raises(BundleError, match=message):
            initialise_from_pretrained(folders / beit, folders / bert)
