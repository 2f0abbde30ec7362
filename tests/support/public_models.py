"""Random weights in the layouts of public lexicon models, and references that compute with them as published.

Written from the published descriptions and from transformers' own classes; nothing of the importers is used here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import lexlip_training  # noqa: F401  (before transformers, which it makes importable)

# isort: split
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizer, BlipConfig, BlipForImageTextRetrieval

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
#: Ids from 999 on: whole words, pieces, punctuation and two that are not ASCII.
WORDS = """
    ! . , a the dog cat runs ##s on green grass two boat red café man woman ##é child plays with blue ball water beach
    street house tree horse rides bicycle ( ) " # * : ; ~ ' - small big white black brown over under near jump ##ing
    """.split()  # noqa: SIM905  (one string a word would hide the words)
LINES = [SPECIAL.get(i, f"[unused{i}]") for i in range(999)] + WORDS


def write_vocabulary(path: Path) -> Path:
    """BERT's kind of vocab.txt; returns the file."""
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


def token_ids(text: str, max_length: int, lines: list[str] | None = None) -> list[int]:
    """As BERT's own tokenizer has them."""
    tokenizer = BertTokenizer(vocab={token: i for i, token in enumerate(lines or LINES)})
    ids: list[int] = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
    return ids


def shake(model: nn.Module, seed: int) -> None:
    """Draw every parameter anew, wide enough that a lost or swapped one shows."""
    random = torch.Generator().manual_seed(seed)
    for name, values in model.named_parameters():
        scale, mean = 0.6 / values[0].numel() ** 0.5 if values.ndim > 1 else 0.2, 0.0
        if values.ndim == 1 and name.endswith("weight"):
            mean = 1.0  # of a LayerNorm
        elif "embedding" in name or name.endswith("encoder_p.proj"):
            scale = 0.3
        values.data = torch.randn(values.shape, generator=random) * scale + mean


def clip_pixels(image: Image.Image, size: int, squash: bool) -> Tensor:
    """(1, 3, S, S): bicubic, of the short side with a crop in the middle, or squashed; CLIP's mean and deviation."""
    width, height = image.size
    if squash:
        resized = image.resize((size, size), Image.Resampling.BICUBIC)
    else:
        short = min(width, height)
        wide, high = int(size * width / short), int(size * height / short)
        left, top = round((wide - size) / 2.0), round((high - size) / 2.0)
        resized = image.resize((wide, high), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.asarray(resized, np.float32).copy()) / 255
    return ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1).unsqueeze(0)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp["c_fc"](self.ln_2(x))
        z: Tensor = x + self.mlp["c_proj"](y * torch.sigmoid(1.702 * y))
        return z


class _VDRImage(nn.Module):
    def __init__(self, size: int, patch: int, width: int, layers: int, heads: int, terms: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.positional_embedding = nn.Parameter(torch.zeros((size // patch) ** 2, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.Sequential(*[_Block(width, heads) for _ in range(layers)])
        self.proj = nn.Parameter(torch.zeros(terms, width))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).permute(2, 0, 1)  # (L, B, H)
        x = self.transformer.resblocks(self.ln_pre(x + self.positional_embedding[:, None]))  # type: ignore[operator]
        hidden: Tensor = self.ln_post(x.permute(1, 0, 2))
        return hidden


class _VDRText(nn.Module):
    def __init__(self, tokens: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        sizes: Any = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
        self.bert_model = BertModel(
            BertConfig(vocab_size=tokens, intermediate_size=4 * width, **sizes), add_pooling_layer=False
        )
        self.ln = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.bert_model(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids))
        hidden: Tensor = self.ln(states.last_hidden_state)
        return hidden


class VDR(nn.Module):
    """VDR cross-modal under its official names, with random weights.

    Args:
        lines: of the vocabulary.
        full: the published sizes instead of tiny ones.
    """

    def __init__(self, lines: list[str], full: bool = False) -> None:
        super().__init__()
        self.terms = [i for i, token in enumerate(lines) if i >= 999 and all(ord(c) < 128 for c in token)]
        self.size, self.max_length, self.top_k = (224, 128, 768) if full else (64, 12, 20)
        width, layers, heads = (768, 12, 12) if full else (128, 2, 2)
        self.encoder_p = _VDRImage(self.size, 32, width, layers, heads, len(self.terms))
        self.encoder_q = _VDRText(len(lines), width, layers, heads)
        self.settings: dict[str, Any] = {
            "encoder_p": {"type": "vdr_crossmodal_image", "layers": layers, "heads": heads, "topk": self.top_k},
            "encoder_q": {"type": "vdr_crossmodal_text", "max_len": self.max_length, "topk": self.top_k},
        }
        shake(self, seed=3)
        self.eval()

    @torch.no_grad()
    def image_hidden(self, image: Image.Image) -> Tensor:
        """(patches, H)."""
        hidden: Tensor = self.encoder_p(clip_pixels(image, self.size, squash=False))[0]
        return hidden

    @torch.no_grad()
    def text_hidden(self, ids: list[int]) -> Tensor:
        """(max_length, H), padding included."""
        padded = torch.zeros(1, self.max_length, dtype=torch.int64)
        padded[0, : len(ids)] = torch.tensor(ids)
        hidden: Tensor = self.encoder_q(padded, (torch.arange(self.max_length) < len(ids)).long()[None])[0]
        return hidden

    def image_vector(self, image: Image.Image, top_k: int | None = None) -> npt.NDArray[np.float32]:
        """(V,) of an image."""
        return self._vector(self.image_hidden(image), self.encoder_p.proj, [], top_k or self.top_k)

    def text_vector(self, ids: list[int], top_k: int | None = None) -> npt.NDArray[np.float32]:
        """(V,) of token ids, special ones included."""
        table = self.encoder_q.bert_model.embeddings.word_embeddings.weight
        return self._vector(self.text_hidden(ids), table[torch.tensor(self.terms)], ids, top_k or self.top_k)

    @torch.no_grad()
    def _vector(self, hidden: Tensor, decoder: Tensor, own: list[int], top_k: int) -> npt.NDArray[np.float32]:
        logits = (hidden @ decoder.T).max(0).values
        weights = torch.where(logits > 0, logits + 1, logits.exp())
        weights = weights / weights.norm()
        kept = torch.tensor([term in own for term in self.terms])
        kept[weights.topk(min(top_k, len(weights))).indices] = True
        return (weights * kept).numpy()

    def write(self, folder: Path, pickled: bool = True) -> Path:
        """The official folder: config.json and pytorch_model.bin, or model.safetensors."""
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"architectures": ["Retriever"], **self.settings}))
        state = self.state_dict()
        if pickled:
            state["encoder_q.bert_model.embeddings.position_ids"] = torch.arange(512)[None]
            torch.save(state, folder / "pytorch_model.bin")
        else:
            save_file({name: values.contiguous() for name, values in state.items()}, folder / "model.safetensors")
        return folder


_SMALL = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 192}
_FULL = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}


class Dense:
    """BLIP as transformers has it, or ALBEF: the same image tower, and for texts the lower layers of a BERT.

    Args:
        tokens: of the tokenizer.
        albef: ALBEF.
        eps: of the image tower's LayerNorm.
        full: the published sizes instead of tiny ones.
    """

    length = 35

    def __init__(self, tokens: int, albef: bool = False, eps: float = 1e-6, full: bool = False) -> None:
        sizes: Any = _FULL if full else _SMALL
        self.size, patch, self.dense_size = (384, 16, 256) if full else (64, 16, 24)
        vision = {**sizes, "image_size": self.size, "patch_size": patch, "layer_norm_eps": eps}
        text = {**sizes, "vocab_size": tokens if albef else tokens + 2, "encoder_hidden_size": sizes["hidden_size"]}
        text |= {"bos_token_id": 0, "sep_token_id": 102}
        config = BlipConfig(vision_config=vision, text_config=text, image_text_hidden_size=self.dense_size)
        self.blip = BlipForImageTextRetrieval(config).eval()
        shake(self.blip, seed=5)
        self.bert: BertModel | None = None
        if albef:
            arguments: Any = {**sizes, "num_hidden_layers": sizes["num_hidden_layers"] // 2, "vocab_size": tokens}
            self.bert = BertModel(BertConfig(**arguments), add_pooling_layer=False).eval()
            shake(self.bert, seed=6)

    @torch.no_grad()
    def image(self, image: Image.Image) -> Tensor:
        """(dense,) unit vector."""
        states = self.blip.vision_model(pixel_values=clip_pixels(image, self.size, squash=True)).last_hidden_state
        return nn.functional.normalize(self.blip.vision_proj(states[:, 0]), dim=-1)[0]

    @torch.no_grad()
    def text(self, ids: list[int]) -> Tensor:
        """(dense,) unit vector of token ids."""
        given = torch.tensor([ids])
        tower: Any = self.bert or self.blip.text_encoder
        states = tower(input_ids=given, attention_mask=torch.ones_like(given))
        return nn.functional.normalize(self.blip.text_proj(states[0][:, 0]), dim=-1)[0]

    def write_folder(self, folder: Path) -> Path:
        """As Hugging Face has it."""
        self.blip.save_pretrained(folder)
        size = {"height": self.size, "width": self.size}
        settings = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_pad": True, "resample": 3}
        settings |= {"image_mean": MEAN, "image_std": STD, "size": size, "image_processor_type": "BlipImageProcessor"}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        return folder

    def write_checkpoint(self, path: Path) -> Path:
        """As LAVIS has it, with what belongs to training and matching."""
        state = {_lavis_name(name): values for name, values in self.blip.state_dict().items()}
        prefix = "text_encoder."
        if self.bert is not None:
            fusion, prefix = len(self.bert.encoder.layer), "text_encoder.bert."
            state = {name: values for name, values in state.items() if not name.startswith("text_encoder.")}
            state |= {f"{prefix}{name}": values for name, values in self.bert.state_dict().items()}
            for name, values in self.blip.state_dict().items():
                if name.startswith("text_encoder.encoder.layer.") and int(name.split(".")[3]) >= fusion:
                    state[name.replace("text_encoder.", prefix)] = values
            state["text_encoder.cls.predictions.bias"] = torch.zeros(3)
        state[f"{prefix}embeddings.position_ids"] = torch.arange(512)[None]
        state |= {"temp": torch.tensor(0.07), "image_queue": torch.zeros(24, 8), "idx_queue": torch.zeros(1, 8)}
        state |= {"ptr_queue": torch.zeros(1, dtype=torch.int64), "visual_encoder_m.cls_token": torch.ones(1, 1, 8)}
        torch.save({"model": state}, path)
        return path


def _lavis_name(name: str) -> str:
    for theirs, lavis in (
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("vision_model.post_layernorm", "visual_encoder.norm"),
        ("self_attn.projection", "attn.proj"),
        ("self_attn", "attn"),
        ("layer_norm1", "norm1"),
        ("layer_norm2", "norm2"),
    ):
        name = name.replace(theirs, lavis)
    return name


def write_opensearch(folder: Path) -> Path:
    """A masked language model for documents, and beside it the weights that terms have in queries."""
    model = BertForMaskedLM(BertConfig(vocab_size=len(LINES), tie_word_embeddings=False, **_SMALL)).eval()
    shake(model, seed=4)
    model.cls.predictions.bias.data = model.cls.predictions.decoder.bias.data
    model.save_pretrained(folder)
    write_vocabulary(folder / "vocab.txt")
    weights = np.random.default_rng(8).uniform(0.5, 9, len(LINES)).round(3).tolist()
    (folder / "idf.json").write_text(json.dumps(dict(zip(LINES, weights, strict=True))))
    return folder


class D2S(nn.Module):
    """D2S's head under its official names, with random weights."""

    def __init__(self, tokens: int, width: int = 128, dense_size: int = 24) -> None:
        super().__init__()
        self.proj = nn.Linear(dense_size, width)
        self.vocab_layer_norm = nn.LayerNorm(width, eps=1e-12)
        self.vocab_projector = nn.Linear(width, tokens)
        shake(self, seed=9)
        self.vocab_projector.weight.data *= 3

    @torch.no_grad()
    def hidden(self, vector: Tensor) -> Tensor:
        """(H,) of a dense vector."""
        hidden: Tensor = self.vocab_layer_norm(self.proj(vector))
        return hidden

    @torch.no_grad()
    def weights(self, vector: Tensor) -> npt.NDArray[np.float32]:
        """(V,) of a dense vector."""
        weights: npt.NDArray[np.float32] = torch.log1p(torch.relu(self.vocab_projector(self.hidden(vector)))).numpy()
        return weights

    def write(self, folder: Path) -> Path:
        """The official folder."""
        folder.mkdir(parents=True)
        settings = {"model_type": "d2s", "mlm_head": "distilbert-base-uncased", "dense_size": self.proj.in_features}
        (folder / "config.json").write_text(json.dumps(settings))
        save_file(self.state_dict(), folder / "model.safetensors")
        return folder
