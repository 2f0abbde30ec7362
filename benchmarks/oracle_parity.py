"""The outputs of the original LexLIP modules against ours, array by array, in torch and in ONNX Runtime.

    python benchmarks/oracle_parity.py ORACLE

ORACLE holds two random-weight checkpoints in the official file layout and `oracle.npz`, what the original code computes
from them. Everything is read through the same doors as a user's files: `load_official` for torch, `export_bundle` and
`LexLIPEncoder` for ONNX Runtime. Ends with status 1 when an array is off, or a lexicon has another set of words.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lexlip_export import ImportOptions, export_bundle
from lexlip_export.official.checkpoint import load_official
from lexlip_export.official.sizes import legacy_stretch
from lexlip_infer import LexLIPEncoder
from lexlip_kernels.lexicon_pool import max_logits
from lexlip_training import LexLIP

#: Largest absolute difference to accept anywhere in an array, from the oracle's own documentation.
TOLERANCES = {
    "image_tokens": 5e-5,
    "image_max_logits": 1e-4,
    "image_lexicon": 5e-5,
    "image_bottleneck": 3e-6,
    "image_tokens_384": 1e-4,
    "relpos_table_384_layer0": 5e-4,
    "image_max_logits_384": 2e-4,
    "image_lexicon_384": 1e-4,
    "text_hidden": 5e-5,
    "text_max_logits": 1e-4,
    "text_lexicon": 5e-5,
    "similarity": 5e-6,
    "enc_logits_mlm": 1e-4,
    "text_bottleneck": 3e-6,
    "dec_logits_i2t": 1e-4,
    "dec_logits_t2t": 1e-4,
    "moco_image_lexicon": 5e-5,
    "moco_text_lexicon": 5e-5,
}
#: What an exported bundle gives.
ONNX_ARRAYS = ("image_lexicon", "image_lexicon_384", "text_lexicon", "similarity")

Arrays = dict[str, npt.NDArray[np.float32]]


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        runtime: "torch" or "ONNX Runtime".
        name: of the array.
        error: largest absolute difference.
        same_words: whether the sets of positive entries are equal; true of arrays that are no lexicon.
    """

    runtime: str
    name: str
    error: float
    same_words: bool

    @property
    def passed(self) -> bool:
        """Within the tolerance, with the very same words."""
        return self.same_words and self.error <= TOLERANCES[self.name]


def main(folder: Path) -> int:
    """Print the table; 1 if anything in it is off."""
    rows = list(compare(folder))
    print(f"| {'runtime':12} | {'array':23} | max error | tolerance | pass |\n|{'-' * 14}|{'-' * 25}|---|---|---|")
    for row in rows:
        verdict = "yes" if row.passed else "NO"
        print(f"| {row.runtime:12} | {row.name:23} | {row.error:9.1e} | {TOLERANCES[row.name]:9.0e} | {verdict} |")
    return int(not all(row.passed for row in rows))


def compare(folder: Path) -> Iterator[Row]:
    """Every array, both runtimes."""
    with np.load(folder / "oracle.npz") as file:
        oracle = {name: file[name] for name in file.files if file[name].dtype.kind in "fi"}
    real = oracle["attention_mask"] == 1
    for runtime, arrays in {"torch": torch_arrays(folder, oracle), "ONNX Runtime": onnx_arrays(folder, oracle)}.items():
        for name, ours in arrays.items():
            theirs = oracle[name]
            assert ours.shape == theirs.shape, name
            # Padded positions hold values that nobody may read.
            kept = real[: len(ours)] if name in ("text_hidden", "enc_logits_mlm") or name.startswith("dec_") else ...
            same_words = "lexicon" not in name or np.array_equal(ours > 0, theirs > 0)
            yield Row(runtime, name, float(np.abs(ours - theirs)[kept].max()), same_words)


@torch.no_grad()
def torch_arrays(folder: Path, oracle: Arrays) -> Arrays:
    """Every forward array of the oracle, from the checkpoint files."""
    inputs = {name: torch.from_numpy(values) for name, values in oracle.items()}
    phase1, phase2 = folder / "checkpoint_phase1.ckpt", folder / "checkpoint_phase2.ckpt"
    model, _ = load_official(phase1)
    arrays = _images(model, inputs["pixel_values"], "")
    arrays |= _texts(model, inputs["input_ids"], inputs["attention_mask"])
    arrays["similarity"] = _unit(arrays["text_lexicon"]) @ _unit(arrays["image_lexicon"]).T
    arrays |= _images(
        load_official(phase1, image_size=384, position_mode="legacy_1d")[0], inputs["pixel_values_384"], "_384"
    )
    state = torch.load(phase1, weights_only=True)["state_dict"]
    table = (
        "image_transformer.beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table"
    )
    arrays["relpos_table_384_layer0"] = legacy_stretch(state[table], len(oracle["relpos_table_384_layer0"]))
    arrays |= _decoder(model, state, inputs, arrays["image_max_logits"])
    momentum = _momentum_model(phase2)
    arrays["moco_image_lexicon"] = momentum.image_weights(inputs["pixel_values"])
    arrays["moco_text_lexicon"] = momentum.text_weights(inputs["input_ids"][:3], inputs["attention_mask"][:3])
    return {name: arrays[name].numpy() for name in TOLERANCES}


def onnx_arrays(folder: Path, oracle: Arrays) -> Arrays:
    """What an exported Phase-2 checkpoint encodes; its momentum copies are a trap."""
    checkpoint = folder / "checkpoint_phase2.ckpt"
    with tempfile.TemporaryDirectory() as bundles:
        export_bundle(checkpoint, Path(bundles) / "224")
        export_bundle(
            checkpoint, Path(bundles) / "384", options=ImportOptions(image_size=384, position_mode="legacy_1d")
        )
        small, large = (LexLIPEncoder.from_pretrained(Path(bundles) / size, threads=1) for size in ("224", "384"))
        terms = small.manifest.vocab_size
        images = small.encode_pixels(oracle["pixel_values"], top_k=terms)
        texts = small.encode_token_ids(oracle["input_ids"], oracle["attention_mask"], top_k=terms)
        return {
            "image_lexicon": images.to_dense(),
            "image_lexicon_384": large.encode_pixels(oracle["pixel_values_384"], top_k=terms).to_dense(),
            "text_lexicon": texts.to_dense(),
            "similarity": small.similarity(texts, images),
        }


def _images(model: LexLIP, pixels: Tensor, suffix: str) -> dict[str, Tensor]:
    tokens = model.image_tower(model.image_tower.backbone_tokens(pixels))
    head = model.image_head
    logits = max_logits(head.transform(tokens), head.weight, head.decoder_bias())
    arrays = {"image_tokens": tokens, "image_max_logits": logits, "image_lexicon": model.image_weights(pixels)}
    return {f"{name}{suffix}": values for name, values in arrays.items()}


def _texts(model: LexLIP, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    hidden, head = model.text_tower(ids, mask), model.text_head
    logits = max_logits(head.transform(hidden), head.weight, head.decoder_bias(), mask)
    return {"text_hidden": hidden, "text_max_logits": logits, "text_lexicon": model.text_weights(ids, mask)}


def _decoder(
    model: LexLIP, state: dict[str, Tensor], inputs: dict[str, Tensor], image_logits: Tensor
) -> dict[str, Tensor]:
    """Bottlenecks and the decoder of the pre-training: from the tensors that the import drops."""
    mask, words = inputs["attention_mask"][:3], model.text_tower.word_embeddings
    encoded = _logits(model, model.text_tower(inputs["enc_ids_mlm"], mask))
    pooled = encoded.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)
    bottlenecks = {"image": image_logits.softmax(-1) @ words, "text": pooled.softmax(-1) @ words}
    arrays = {f"{name}_bottleneck": values for name, values in bottlenecks.items()} | {"enc_logits_mlm": encoded}
    for task, name in (("i2t", "image"), ("t2t", "text")):
        hidden = model.text_tower.bert.embeddings(inputs["dec_ids_mlm"])
        hidden[:, 0] = bottlenecks[name]
        for layer in range(2):
            hidden = bert_layer(hidden, mask, state, f"text_transformer.decoder_heads.{layer}.", heads=4)
        arrays[f"dec_logits_{task}"] = _logits(model, hidden)
    return arrays


def bert_layer(hidden: Tensor, mask: Tensor, state: dict[str, Tensor], prefix: str, heads: int) -> Tensor:
    """A post-norm BERT layer written out: tokens (B, L, H) and their mask (B, L) to tokens."""

    def linear(name: str, tokens: Tensor) -> Tensor:
        return tokens @ state[f"{prefix}{name}.weight"].T + state[f"{prefix}{name}.bias"]

    def norm(name: str, tokens: Tensor) -> Tensor:
        name = f"{prefix}{name}.LayerNorm"
        return nn.functional.layer_norm(
            tokens, tokens.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-12
        )

    query, key, value = (
        linear(f"attention.self.{name}", hidden).unflatten(-1, (heads, -1)).transpose(1, 2)
        for name in ("query", "key", "value")
    )
    scores = query @ key.mT / query.shape[-1] ** 0.5
    scores = scores.masked_fill(mask[:, None, None] == 0, -torch.inf)
    attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    hidden = norm("attention.output", hidden + linear("attention.output.dense", attended))
    widened = nn.functional.gelu(linear("intermediate.dense", hidden))
    return norm("output", hidden + linear("output.dense", widened))


def _logits(model: LexLIP, hidden: Tensor) -> Tensor:
    head = model.text_head
    return head.transform(hidden) @ head.weight.T + head.decoder_bias()


def _momentum_model(checkpoint: Path) -> LexLIP:
    """The momentum copies, imported as if they were the model."""
    content = torch.load(checkpoint, weights_only=True)
    copies = {name: values for name, values in content["state_dict"].items() if name.startswith("moco_")}
    content["state_dict"] = {name.removeprefix("moco_"): values for name, values in copies.items()}
    with tempfile.TemporaryDirectory() as folder:
        torch.save(content, Path(folder) / "momentum.ckpt")
        return load_official(Path(folder) / "momentum.ckpt")[0]


def _unit(vectors: Tensor) -> Tensor:
    return nn.functional.normalize(vectors, dim=-1, eps=1e-12)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
