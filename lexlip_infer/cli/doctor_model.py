"""What `lexlip doctor --model` says of a bundle, in plain words: what it does with images and texts."""

from __future__ import annotations

from collections.abc import Iterator

from lexlip_infer.bundle import Bundle, Modality
from lexlip_infer.cli.shell import counted
from lexlip_infer.manifest import MODALITIES

_RESIZE = {"squash": "squashed to a square", "center_crop": "cut to a square at the centre"}
_SATURATION = {
    "log1p_relu": "log(1 + x) of what is positive, 0 of the rest",
    "elu1p": "x + 1 of what is positive, exp(x) of the rest, so that every term has a weight",
}
_NORMS = {
    "none": "are kept as they are",
    "full_vocabulary": "are divided by their length over the whole vocabulary, before terms are chosen",
}
_COUNTING = {"once": "once, however often it stands there", "sum": "as often as it stands there"}


def explained(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Subject and sentence, in the order in which a newcomer asks."""
    manifest = bundle.manifest
    yield "does", _does(bundle)
    if manifest.image is not None:
        size, kept = manifest.image.size, manifest.top_k.image
        yield "images", f"{size} x {size} pixels, {_RESIZE[manifest.image.resize]}; {_kept(kept)}"
        yield from _weights("image", bundle)
    if manifest.text is not None:
        yield "texts", f"at most {counted(manifest.text.max_length, 'token')}; {_kept(manifest.top_k.text)}"
        if bundle.precisions("text"):
            yield from _weights("text", bundle)
        yield from _static(bundle)
        for name, prompt in manifest.text.prompts.items():
            yield "prompt", f"{prompt!r} is put before a text, by the name {name!r}"
    yield "vocabulary", _vocabulary(bundle)
    yield "score", _score(bundle)
    scale, cap = manifest.quantisation.scale, manifest.quantisation.cap
    yield "impacts", f"weight x {scale:g}, rounded, from 1 to {cap:,}; lexlip calibrate finds what fits your collection"
    yield "size", _size(bundle)
    yield "notice", manifest.notice or "nothing is recorded of the terms on which it may be used"


def _does(bundle: Bundle) -> str:
    towers = [modality for modality in MODALITIES if bundle.has_tower(modality)]
    terms = f"{bundle.manifest.vocab_size:,} terms"
    if not any(map(bundle.precisions, towers)):
        return f"looks up texts in a table of {terms}; no model runs, and images are not taken"
    return f"gives {' and '.join(f'{name}s' for name in towers)} weights over {terms}"


def _kept(count: int) -> str:
    return f"the {counted(count, 'heaviest term')} of each {'is' if count == 1 else 'are'} kept"


def _weights(modality: Modality, bundle: Bundle) -> Iterator[tuple[str, str]]:
    text = bundle.manifest.text if modality == "text" else None
    section = text or bundle.manifest.image
    assert section is not None, "whoever has a tower says how its inputs are made"
    yield "", f"a weight is {_SATURATION[section.saturation]}; weights {_NORMS[section.normalise]}"
    if text is not None and text.admit_padding:
        yield "", "texts are filled up to their greatest length, and the filling takes part in the weights"
    if text is not None and text.keep_own_tokens:
        yield "", "a text's own terms are kept beside the heaviest ones"


def _static(bundle: Bundle) -> Iterator[tuple[str, str]]:
    text = bundle.manifest.text
    if text is None or text.static is None:
        return
    how = f"each term counts {_COUNTING[text.static]}"
    if not bundle.precisions("text"):
        yield "", f"looked up, no model runs: {how}"
    elif text.query_mode == "lookup":
        yield "queries", f"looked up in a table, no model runs: {how}; documents go through the tower"
    else:
        yield "queries", f"go through the tower; with --query-mode lookup a table takes its place: {how}"


def _vocabulary(bundle: Bundle) -> str:
    manifest = bundle.manifest
    if manifest.tokenizer is None:
        return f"{manifest.vocab_size:,} terms without words: the bundle has no tokenizer and takes token ids alone"
    terms = bundle.vocabulary().terms
    words = [term for term in terms if term.isalpha()]
    shown = ", ".join(words[len(words) // 2 :][:3])
    never = f"; {len(manifest.suppressed_ids):,} of them never get a weight" if manifest.suppressed_ids else ""
    return f"{len(terms):,} terms, for example {shown}{never}"


def _score(bundle: Bundle) -> str:
    if bundle.manifest.similarity == "cosine":
        return "cosine: the kept weights of an item are divided by their length, and multiplied with the query's"
    return "dot product: the weights of common terms, multiplied and added up"


def _size(bundle: Bundle) -> str:
    manifest = bundle.manifest
    total = sum(record.size for record in manifest.files.values()) / 1e6
    parts = [
        f"{modality} tower in {', '.join(found)}" for modality in MODALITIES if (found := bundle.precisions(modality))
    ]
    said = "; ".join(parts) or "no tower"
    return f"{total:.1f} MB in {counted(len(manifest.files), 'file')}, format {manifest.format_version}; {said}"
