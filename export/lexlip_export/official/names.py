"""Which tensor of a checkpoint is which of ours; the map is total, so that nothing is lost and nothing left random.

A name of ours maps to the names whose tensors are joined along the first axis: timm keeps query, key and value in one
matrix. Names on the other side are Hugging Face's (BEiT, BERT, BERT's head), which the official code uses as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import pydantic
import torch
from torch import Tensor

from lexlip_export.official.container import State, StoredTensor, tensor
from lexlip_infer.files import first_fault
from lexlip_kernels.errors import BundleError
from lexlip_training.checkpoint import StoredShape, build
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP

Names = Mapping[str, tuple[str, ...]]

_BEIT_BLOCK: dict[str, tuple[str, ...]] = {
    "gamma_1": ("lambda_1",),
    "gamma_2": ("lambda_2",),
    "attn.qkv.weight": tuple(f"attention.attention.{part}.weight" for part in ("query", "key", "value")),
    "attn.q_bias": ("attention.attention.query.bias",),
    "attn.v_bias": ("attention.attention.value.bias",),
    "attn.relative_position_bias_table": ("attention.attention.relative_position_bias.relative_position_bias_table",),
} | {
    f"{ours}.{kind}": (f"{theirs}.{kind}",)
    for ours, theirs in {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }.items()
    for kind in ("weight", "bias")
}

_BERT_LAYER = [
    f"{part}.{kind}"
    for part in (
        *(f"attention.self.{projection}" for projection in ("query", "key", "value")),
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    )
    for kind in ("weight", "bias")
]

_BERT_EMBEDDINGS = [
    *(f"{table}_embeddings.weight" for table in ("word", "position", "token_type")),
    "LayerNorm.weight",
    "LayerNorm.bias",
]

_HEAD = {
    "dense.weight": "transform.dense.weight",
    "dense.bias": "transform.dense.bias",
    "norm.weight": "transform.LayerNorm.weight",
    "norm.bias": "transform.LayerNorm.bias",
    "weight": "decoder.weight",
    "bias": "bias",
}


def beit_names(layers: int, prefix: str) -> Names:
    """Our image backbone (timm's BEiT) from a BEiT below `prefix`."""
    patches = "embeddings.patch_embeddings.projection"
    names: dict[str, tuple[str, ...]] = {
        "cls_token": (f"{prefix}embeddings.cls_token",),
        "patch_embed.proj.weight": (f"{prefix}{patches}.weight",),
        "patch_embed.proj.bias": (f"{prefix}{patches}.bias",),
    }
    for layer in range(layers):
        for ours, theirs in _BEIT_BLOCK.items():
            names[f"blocks.{layer}.{ours}"] = tuple(f"{prefix}encoder.layer.{layer}.{name}" for name in theirs)
    return {f"image_tower.backbone.{ours}": theirs for ours, theirs in names.items()}


def bert_names(layers: int, prefix: str) -> Names:
    """Our text tower from a BERT below `prefix`; the names are the same."""
    names = [f"embeddings.{name}" for name in _BERT_EMBEDDINGS]
    names += [f"encoder.layer.{layer}.{name}" for layer in range(layers) for name in _BERT_LAYER]
    return {f"text_tower.bert.{name}": (f"{prefix}{name}",) for name in names}


def head_names(modality: str, prefix: str) -> Names:
    """Our lexicon head of a modality from BERT's prediction head below `prefix`, `bias` reconciled."""
    return {f"{modality}_head.{ours}": (f"{prefix}{theirs}",) for ours, theirs in _HEAD.items()}


def without(state: State, patterns: Iterable[str]) -> State:
    """What is left of a state dict when names that match one of the patterns in full are dropped."""
    dropped = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return {name: stored for name, stored in state.items() if not dropped.fullmatch(name)}


def collect(state: State, names: Names, what: str) -> dict[str, Tensor]:
    """Our tensors, float32, by our names.

    Args:
        state: every tensor that is left in the checkpoint.
        names: the total map.
        what: the checkpoint, for messages.

    Raises:
        BundleError: a tensor is missing, one is not accounted for, or the parts of one do not fit together.
    """
    wanted = {name for parts in names.values() for name in parts}
    _refuse(what, "lacks", [name for name in sorted(wanted) if name not in state])
    _refuse(what, "has unknown", [name for name in sorted(state) if name not in wanted])
    collected = {}
    for ours, parts in names.items():
        values = [tensor(state[name]) for name in parts]
        if len({part.shape[1:] for part in values}) > 1:
            raise BundleError(f"{what}: {', '.join(parts)} do not fit together: {[tuple(v.shape) for v in values]}")
        collected[ours] = torch.cat(values)
    return collected


@contextmanager
def sizes_of(what: str) -> Iterator[None]:
    """Sizes and settings that no model has, said in one line.

    Raises:
        BundleError: instead of pydantic's error.
    """
    try:
        yield
    except pydantic.ValidationError as error:
        raise BundleError(f"{what}: {first_fault(error)}") from None


def built(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    what: str,
    whole: bool = True,
    kind: Callable[[ModelConfig], LexLIP] = LexLIP,
) -> LexLIP:
    """A model of a configuration, built when it is known that these tensors fit into it.

    Args:
        config: its shapes.
        tensors: by its names.
        what: the checkpoint, for messages.
        whole: that they are all.
        kind: makes it.

    Raises:
        BundleError: a shape differs, a name is not the model's, or the configuration is none that a model can have.
    """
    stored = {name: StoredShape(tuple(values.shape)) for name, values in tensors.items()}
    return build(lambda: kind(config), stored, what, whole)


def load(model: LexLIP, tensors: Mapping[str, Tensor], what: str) -> LexLIP:
    """Load tensors into a model that was built for them, every one of its own and no other.

    Raises:
        BundleError: a tensor is missing.
    """
    _refuse(what, "lacks", [name for name in sorted(model.state_dict()) if name not in tensors])
    model.load_state_dict(dict(tensors), strict=True)
    return model.eval()


def _refuse(what: str, verb: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise BundleError(
            f"{what} {verb} {'tensor' if len(names) == 1 else 'tensors'} {', '.join(names[:3])}{more}; "
            "it is not a checkpoint of this kind, or not a whole one"
        )


def reconcile_bias(state: State, prefix: str, what: str) -> State:
    """The state with `bias` alone of the head below `prefix`.

    Raises:
        BundleError: `bias` and `decoder.bias` are both there and differ.
    """
    plain, twin = f"{prefix}bias", f"{prefix}decoder.bias"
    if twin not in state:
        return state
    merged: dict[str, StoredTensor | Tensor] = {name: stored for name, stored in state.items() if name != twin}
    if plain not in state:
        merged[plain] = state[twin]
    elif not torch.equal(tensor(state[plain]), tensor(state[twin])):
        raise BundleError(f"{what}: {plain} and {twin} are one parameter, but differ; the file is inconsistent")
    return merged
