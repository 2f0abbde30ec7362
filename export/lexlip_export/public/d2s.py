"""D2S (`lsr42/d2s_*`): a lexicon head on the unit vectors of BLIP or ALBEF, for images and texts alike.

A vector e becomes LN(W_p e + b_p), one hidden state; the head on it is LexLIP's: log1p(relu(W h + b)), dot product. So
an image or a text has L = 1, and which patch a word came from cannot be said. The towers are not in the folder of D2S.

Captions are cleaned as BLIP's are: lower case, `.!"()*#:;~` become spaces, which the tokenizer in the bundle does by
rules of its own. That BLIP also cuts a caption after 50 words shows nowhere, for 35 tokens are fewer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers
from torch import Tensor, nn
from torch.nn.functional import normalize

from lexlip_export.licence import licence_notice
from lexlip_export.official.names import Names, built, collect, load
from lexlip_export.official.sizes import shape_of
from lexlip_export.pretrained import read_settings, read_weights
from lexlip_export.public.dense import DenseTowers, read_dense
from lexlip_export.public.folder import find_tokenizer
from lexlip_export.public.model import PublicFolder, PublicModel
from lexlip_export.public.sizes import both
from lexlip_infer.bundle import TextSettings
from lexlip_kernels.errors import BundleError
from lexlip_training.config import ModelConfig

#: What BLIP replaces by a space in a caption.
CLEANED = '.!"()*#:;~'
#: Kept terms of an image and of a text; the model itself keeps all that are positive.
_TOP_K = 256

_NAMES: Names = both({"project": "proj", "norm": "vocab_layer_norm", "head": "vocab_projector"})


class D2SModel(PublicModel):
    """Dense towers, and D2S on both of them.

    Args:
        config: shapes of the towers.
        dense_size: length of the vectors between them.
    """

    def __init__(self, config: ModelConfig, dense_size: int) -> None:
        super().__init__(config, token_count=config.vocab_size)
        self.image_project = nn.Linear(config.hidden_size, dense_size)
        self.text_project = nn.Linear(config.hidden_size, dense_size)
        self.project = nn.Linear(dense_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-12)

    def image_hidden(self, pixels: Tensor) -> Tensor:
        """Hidden states (B, 1, H) of normalised pixels (B, 3, S, S)."""
        return self._hidden(self.image_project(self.image_tower(pixels)[:, 0]))

    def text_hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Hidden states (B, 1, H) of token ids (B, L)."""
        return self._hidden(self.text_project(self.text_tower(input_ids, attention_mask)[:, 0]))

    def _hidden(self, vectors: Tensor) -> Tensor:
        hidden: Tensor = self.norm(self.project(normalize(vectors, dim=-1)))
        return hidden.unsqueeze(1)


def load_d2s(
    folder: Path, dense: Path | None, tokenizer_file: Path | None = None, image_size: int | None = None
) -> PublicFolder:
    """Read a D2S head and the towers below it.

    Args:
        folder: with config.json and model.safetensors or pytorch_model.bin.
        dense: Hugging Face folder of BLIP, or checkpoint of LAVIS.
        tokenizer_file: of bert-base-uncased, where neither folder has it.
        image_size: pixels; the towers' own when absent.

    Raises:
        BundleError: the towers were not given, a file is missing or damaged, a tensor is unknown or missing, or head
            and towers do not fit each other.
    """
    if dense is None:
        raise BundleError(f"{folder}: a D2S head without its towers; give them: --dense BLIP_FOLDER_OR_CHECKPOINT")
    settings, what = read_settings(folder / "config.json"), str(folder)
    tokenizer = find_tokenizer(tokenizer_file, folder, dense)
    tokens = tokenizer.get_vocab_size()
    tensors = collect(read_weights(folder, ()), _NAMES, what)
    rows, hidden_size = shape_of(tensors, "head.weight", 2, what)
    _, dense_size = shape_of(tensors, "project.weight", 2, what)
    if rows != tokens:
        raise BundleError(f"{what}: a head of {rows:,} terms; the tokenizer has {tokens:,}")
    towers = read_dense(dense, tokens, image_size)
    _check_fit(towers, settings.get("dense_size", dense_size), dense_size, hidden_size, f"{folder} and {dense}")
    config = ModelConfig(
        name=folder.resolve().name,
        vocab_size=tokens,
        hidden_size=hidden_size,
        image=towers.image,
        text=towers.text,
        layer_norm_eps=towers.layer_norm_eps,
    )
    ours = towers.tensors | _both_heads(tensors)
    model = load(built(config, ours, what, kind=partial(D2SModel, dense_size=dense_size)), ours, what)
    head = licence_notice(folder, "A D2S head (https://github.com/thongnt99/lsr-multimodal, Apache-2.0), converted.")
    record: dict[str, Any] = {"notice": f"{head} {towers.notice}", "source": config.name, "dense": dense.name}
    return PublicFolder(
        model=model,
        tokenizer=cleaning(tokenizer),
        record=record | {"oracle": f"d2s-{towers.kind}"},
        text=TextSettings(max_length=towers.text.max_length),
        settings={"similarity": "dot", "image_top_k": _TOP_K, "text_top_k": _TOP_K},
    )


def cleaning(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that cleans a caption as BLIP does, before whatever it does itself; BERT's splitting joins spaces."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    now: Any = copy.normalizer
    rules: list[Any] = [normalizers.Replace(character, " ") for character in CLEANED]
    copy.normalizer = normalizers.Sequence([*rules, *([] if now is None else [now])])
    return copy


def _check_fit(towers: DenseTowers, said: object, dense_size: int, hidden_size: int, what: str) -> None:
    if (towers.dense_size, said) != (dense_size, dense_size):
        raise BundleError(
            f"{what}: towers of {towers.dense_size} numbers a vector, a head for {dense_size} (config.json: {said}); "
            "expected the towers that the head was trained on"
        )
    if towers.hidden_size != hidden_size:
        raise BundleError(f"{what}: towers of width {towers.hidden_size}, a head of {hidden_size}; expected one")


def _both_heads(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The one head under the names of both modalities."""
    heads = {name: tensors.pop(name) for name in list(tensors) if name.startswith("head.")}
    return tensors | {f"{side}_{name}": values for side in ("image", "text") for name, values in heads.items()}
