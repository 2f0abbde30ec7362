"""VDR cross-modal (`vsearch/vdr-cross-modal`): a vision transformer without class token, and a BERT, as lexicon models.

What it does unlike LexLIP: logits have no bias and become elu1p(m) = m + 1 above 0, else exp(m); the vector is divided
by its L2 norm over the whole vocabulary, then the heaviest terms are kept; of a text, which is always padded to the
same length, the maximum runs over padding as well, and its own tokens are kept whatever they weigh. Its terms are those
of BERT's from id 999 on that are pure ASCII. The bundle format says all of this; nothing is approximated.

The text decoder is the table of input embeddings behind one more LayerNorm. Tensors: `encoder_p.` images, `encoder_q.`
texts, and nothing else. That the official code turns no photograph as its EXIF says is not imitated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lexlip_export.head_fields import HeadFields
from lexlip_export.licence import licence_notice
from lexlip_export.official.names import Names, bert_names, built, collect, load
from lexlip_export.official.sizes import bert_sizes, layer_count, shape_of
from lexlip_export.pretrained import read_settings, read_weights
from lexlip_export.public.folder import find_tokenizer
from lexlip_export.public.model import CLIP_MEAN, CLIP_STD, PublicFolder, PublicModel
from lexlip_export.public.sizes import both, heads_of, side_of
from lexlip_infer.bundle import TextSettings
from lexlip_kernels.errors import BundleError
from lexlip_kernels.head_rule import HeadRule
from lexlip_training.config import ImageTowerConfig, ModelConfig

#: Of BERT's ids, those below are special or unused.
FIRST_TERM = 999
#: What the classes of its repository take where config.json is silent: attention heads of images, tokens of a text,
#: kept terms.
_HEADS, _MAX_LENGTH, _TOP_K = 12, 256, 768
#: What both heads compute.
_RULE = HeadRule("elu1p", normalise=True)

_IMAGE, _TEXT = "encoder_p.", "encoder_q."
_BERT = f"{_TEXT}bert_model."
_DROPPED = (r"encoder_q\.bert_model\.embeddings\.position_ids",)
_EMBEDDINGS = "text_tower.bert.embeddings.word_embeddings.weight"

_BLOCK = both(
    {"norm1": "ln_1", "norm2": "ln_2", "attn.proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
) | {f"attn.qkv.{kind}": (f"attn.in_proj_{kind}",) for kind in ("weight", "bias")}


class VDRModel(PublicModel):
    """VDR's two towers; arguments as of `PublicModel`."""

    def __init__(self, config: ModelConfig, token_count: int) -> None:
        super().__init__(config, token_count)
        self.text_norm = nn.LayerNorm(config.hidden_size, eps=1e-5)

    def image_hidden(self, pixels: Tensor) -> Tensor:
        """Hidden states (B, patches, H) of normalised pixels (B, 3, S, S)."""
        hidden: Tensor = self.image_tower(pixels)
        return hidden

    def text_hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states (B, L, H) of token ids (B, L); those of padding are read as well."""
        hidden: Tensor = self.text_norm(self.text_tower(input_ids, attention_mask))
        return hidden


def is_vdr(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is of a pair of encoders as VDR's repository writes them."""
    return all(isinstance(config.get(name), dict) for name in ("encoder_p", "encoder_q"))


def load_vdr(folder: Path, tokenizer_file: Path | None = None) -> PublicFolder:
    """Read the folder of `vsearch/vdr-cross-modal`.

    Args:
        folder: with config.json and pytorch_model.bin or model.safetensors.
        tokenizer_file: of bert-base-uncased, which the folder does not have.

    Raises:
        BundleError: a file is missing or damaged, a tensor is unknown or missing, or it is another model of VDR's.
    """
    what, settings = str(folder), read_settings(folder / "config.json")
    image, text = (_Section(folder, name, settings[name]) for name in ("encoder_p", "encoder_q"))
    if settings.get("shared_encoder") or "image" not in str(image.values.get("type", "image")):
        raise BundleError(f"{folder}: encoder_p reads texts; of VDR's models the cross-modal one alone is imported")
    tokenizer = find_tokenizer(tokenizer_file, folder)
    tensors = read_weights(folder, _DROPPED)
    terms, tokens = terms_of(tokenizer), tokenizer.get_vocab_size()
    config = _config(what, tensors, image, text, tokens, len(terms))
    ours = collect(tensors, _names(config), what)
    ours["image_tower.pos_embed"] = ours["image_tower.pos_embed"].unsqueeze(0)
    ours["text_head.weight"] = ours[_EMBEDDINGS][torch.tensor(terms)]
    ours |= {f"{modality}_head.bias": torch.zeros(len(terms)) for modality in config.modalities}
    model = load(built(config, ours, what, kind=partial(VDRModel, token_count=tokens)), ours, what)
    notice = licence_notice(folder, "VDR cross-modal (https://github.com/jzhoubu/vsearch, code MIT), converted.")
    heads = HeadFields(_RULE, terms, tokens)
    text_settings = TextSettings(
        saturation=_RULE.saturation,
        normalise="full_vocabulary",
        max_length=text.number("max_len", _MAX_LENGTH),
        admit_padding=True,
        keep_own_tokens=True,
    )
    return PublicFolder(
        model=model,
        tokenizer=tokenizer,
        record={"notice": notice, "source": folder.resolve().name, "oracle": "vdr-cross-modal"},
        text=text_settings,
        settings={
            "similarity": "dot",
            "image_top_k": image.number("topk", _TOP_K),
            "text_top_k": text.number("topk", _TOP_K),
        },
        heads=heads,
    )


def terms_of(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Ids of the tokens that are VDR's terms, ascending.

    Raises:
        BundleError: there are none.
    """
    terms = tuple(sorted(i for token, i in tokenizer.get_vocab().items() if i >= FIRST_TERM and token.isascii()))
    if not terms:
        raise BundleError(f"the tokenizer has no ASCII token from id {FIRST_TERM} on; give that of bert-base-uncased")
    return terms


class _Section:
    """One encoder's settings."""

    def __init__(self, folder: Path, name: str, values: Mapping[str, Any]) -> None:
        self._where = f"{folder / 'config.json'}: {name}"
        self.values = values

    def number(self, name: str, default: int) -> int:
        """A positive whole number."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BundleError(f"{self._where}.{name} is {value!r}; expected a positive whole number")
        return value


def _config(
    what: str, tensors: Mapping[str, Tensor], image: _Section, text: _Section, tokens: int, terms: int
) -> ModelConfig:
    width, _, patch, _ = shape_of(tensors, f"{_IMAGE}conv1.weight", 4, what)
    patches, _ = shape_of(tensors, f"{_IMAGE}positional_embedding", 2, what)
    rows, hidden_size = shape_of(tensors, f"{_IMAGE}proj", 2, what)
    intermediate, _ = shape_of(tensors, f"{_IMAGE}transformer.resblocks.0.mlp.c_fc.weight", 2, what)
    bert = bert_sizes(tensors, _BERT, what)
    size = side_of(patches, f"{what}: {_IMAGE}positional_embedding") * patch
    depth = layer_count(tensors, f"{_IMAGE}transformer.resblocks.")
    for name, value in {"resolution": size, "patch_size": patch, "width": width, "layers": depth}.items():
        if image.number(name, value) != value:
            raise BundleError(f"{what}: encoder_p.{name} is {image.values[name]}; its tensors are of {value}")
    if (rows, bert.vocab_size) != (terms, tokens):
        raise BundleError(
            f"{what}: a decoder of {rows:,} terms beside {bert.vocab_size:,} tokens; the tokenizer has {terms:,} ASCII "
            f"tokens from id {FIRST_TERM} on, of {tokens:,}: give that of bert-base-uncased"
        )
    if not width == hidden_size == bert.hidden_size:
        raise BundleError(f"{what}: widths {width}, {hidden_size} and {bert.hidden_size}; expected one")
    heads = image.number("heads", _HEADS)
    if width % heads:
        raise BundleError(f"{what}: encoder_p.heads is {heads}, which does not divide the width {width}")
    tower = ImageTowerConfig(
        backbone="VDR's vision transformer, without a class token",
        backbone_options={
            "patch_size": patch,
            "embed_dim": width,
            "depth": depth,
            "num_heads": heads,
            "mlp_ratio": intermediate / width,
            "class_token": False,
            "pre_norm": True,
            "quick_gelu": True,
        },
        image_size=size,
        resize="center_crop",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        layer_norm_eps=1e-5,
    )
    lower = bert.config(heads_of(width, what), text.number("max_len", _MAX_LENGTH))
    return ModelConfig(name="vdr-cross-modal", vocab_size=terms, hidden_size=hidden_size, image=tower, text=lower)


def _names(config: ModelConfig) -> Names:
    assert config.image is not None
    assert config.text is not None
    names: dict[str, tuple[str, ...]] = {
        "patch_embed.proj.weight": (f"{_IMAGE}conv1.weight",),
        "pos_embed": (f"{_IMAGE}positional_embedding",),
        **both({"norm_pre": f"{_IMAGE}ln_pre", "norm": f"{_IMAGE}ln_post"}),
    }
    for layer in range(int(config.image.backbone_options["depth"])):
        block = f"{_IMAGE}transformer.resblocks.{layer}."
        names |= {f"blocks.{layer}.{ours}": tuple(block + name for name in theirs) for ours, theirs in _BLOCK.items()}
    names = {f"image_tower.{ours}": theirs for ours, theirs in names.items()}
    names |= {"image_head.weight": (f"{_IMAGE}proj",), **both({"text_norm": f"{_TEXT}ln"})}
    return names | dict(bert_names(config.text.layers, _BERT))
