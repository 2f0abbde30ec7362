"""Write a bundle: graphs, heads, tokenizer, model card, and last the manifest that names them all by hash.

The folder is built beside its destination and renamed into place: a bundle is there whole or not at all.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pydantic
from safetensors.numpy import save
from tokenizers import Tokenizer

from lexlip_export.backbone_graph import backbone_graph
from lexlip_export.bundle_folder import ATTRIBUTION, BundleFolder, check_replaceable, plain
from lexlip_export.card_facts import CardFacts
from lexlip_export.further_graphs import ANSERINI_VOCABULARY, anserini_vocabulary, decoder, further_graphs
from lexlip_export.graph_builder import share_weights, store_half, store_int8, to_half, to_int8
from lexlip_export.head_fields import HeadFields
from lexlip_export.head_graph import head_graph
from lexlip_export.model_card import model_card
from lexlip_export.precision.gate import precision_graphs
from lexlip_export.precision.report import PARITY, ParityReport
from lexlip_export.public.folder import check_whole
from lexlip_export.public.model import PublicModel
from lexlip_export.public.scale import fit_scale
from lexlip_export.settings import MOST_QUERY_TERMS, ExportSettings, FurtherGraph, GateSettings
from lexlip_export.sources import ImportOptions, Source, load_source, load_static_source
from lexlip_export.static_bundle import write_static_bundle
from lexlip_infer.bundle import FORMAT_VERSION, MANIFEST, Manifest, Modality, TextSettings, backbone_file
from lexlip_infer.errors import BundleError, InputError
from lexlip_infer.files import MOST_JSON, first_fault, new_folder, read_regular
from lexlip_infer.impacts import fitting_scale
from lexlip_infer.manifest import TERM_TOKENS, format_of
from lexlip_infer.runtime.head_weights import HEADS, STATIC_WEIGHT
from lexlip_training.config import ModelConfig
from lexlip_training.model import LexLIP


def export_bundle(
    checkpoint: Path,
    output: Path,
    settings: ExportSettings | None = None,
    facts: CardFacts | None = None,
    gate: GateSettings | None = None,
    options: ImportOptions | None = None,
    attribution: Path | None = None,
) -> None:
    """Turn a checkpoint into a bundle folder.

    Args:
        checkpoint: a folder as `lexlip_training.save_checkpoint` writes it, an official LexLIP checkpoint file, or
            a Hugging Face folder of a BERT masked language model (SPLADE), of term weights for queries, of VDR
            cross-modal, or of a D2S head.
        output: must not exist, or be a bundle, which is replaced.
        settings: defaults and storage.
        facts: what the model card tells of it: evaluations of an earlier export, and a text.
        gate: what precisions beside float32 are compared on, and their limits.
        options: tokenizer and overrides, where the checkpoint is not one of ours.
        attribution: a text that names the makers of what the weights were trained on, as many licences ask for.

    Raises:
        BundleError: the checkpoint cannot be read, its graphs are not of the bundle's format, or a precision did not
            pass the parity gate.
        InputError: an option does not go with this kind of checkpoint, or the gate's captions or the attribution cannot
            be read.
        OutputError: `output` exists and is no bundle.
    """
    options, settings = options or ImportOptions(), settings or ExportSettings()
    credit = None if attribution is None else _text(attribution)
    check_whole(checkpoint)
    if (table := load_static_source(checkpoint, options)) is not None:
        write_static_bundle(table, output, settings, credit)
        return
    source = load_source(checkpoint, options)
    settings = _wanted(settings, source, checkpoint)
    model, tokenizer, record, text = source.model, source.tokenizer, source.record, source.text
    if isinstance(model, PublicModel):
        _check_plain(settings, checkpoint)
        assert tokenizer is not None
        assert text is not None
        if "scale" not in settings.model_fields_set:
            fitted = fit_scale(model, tokenizer, text, source.heads, settings)
            settings, record = settings.model_copy(update={"scale": fitted.scale}), record | fitted.record()
    static, heads = source.static_weight, source.heads
    write_bundle(model, tokenizer, record, output, settings, facts, gate, text, credit, static, heads)


def _wanted(settings: ExportSettings, source: Source, checkpoint: Path) -> ExportSettings:
    """The settings, and what the model wants where nobody asked for anything else."""
    wanted = {"text_top_k": source.text_top_k, **source.defaults}
    changes = {name: v for name, v in wanted.items() if v is not None and name not in settings.model_fields_set}
    if changes.get("text_top_k", 0) > MOST_QUERY_TERMS:
        raise BundleError(
            f"{checkpoint}: the model keeps {changes['text_top_k']} terms of a text, and Lucene allows a query "
            f"{MOST_QUERY_TERMS} terms; give the terms to keep: --text-top-k"
        )
    if source.similarity is not None:
        changes["similarity"] = source.similarity
    dot = changes.get("similarity", settings.similarity) == "dot"
    if dot and source.static_weight is not None and "scale" not in settings.model_fields_set:
        # The table's heaviest term, an inverse document frequency of 10 or 20, and documents have one scale.
        changes["scale"] = min(settings.scale, fitting_scale(float(source.static_weight.max()), settings.cap))
    return settings.model_copy(update=changes)


def write_bundle(
    model: LexLIP,
    tokenizer: Tokenizer | None,
    training: dict[str, Any],
    output: Path,
    settings: ExportSettings,
    facts: CardFacts | None = None,
    gate: GateSettings | None = None,
    text: TextSettings | None = None,
    attribution: str | None = None,
    static: npt.NDArray[np.float32] | None = None,
    heads: HeadFields | None = None,
) -> None:
    """Write a model in memory as a bundle; arguments and errors as for `export_bundle`.

    Without a tokenizer the bundle encodes token ids and no strings. `text` says how texts are encoded, where that is
    more than their length; `attribution` is the text itself; `static` (V,) what terms weigh in queries that the model
    does not see, where it is not the model's own table; `heads` what they compute beyond LexLIP's.
    """
    heads = heads or HeadFields()
    if text is None and model.config.text is not None:
        tower = model.config.text
        text = TextSettings(max_length=tower.max_length, static="once" if tower.lookup else None)
    if text is not None and FurtherGraph.ANSERINI in settings.graphs:
        _check_anserini(text)
    check_replaceable(output)
    with new_folder(output, replace=True) as partial:
        files = BundleFolder(partial)
        if static is None and text is not None and text.static is not None:
            static = model.lookup_weights().detach().numpy()
        parity = _write_model(files, model, text, tokenizer, settings, gate or GateSettings(), static, heads)
        if attribution is not None:
            files[ATTRIBUTION] = attribution.encode()
        for name, picture in ({} if facts is None else facts.pictures).items():
            files[name] = picture
        files["README.md"] = model_card(model, training, settings.model_dump(), facts, parity).encode()
        manifest = _manifest(model.config, text, tokenizer, training, settings, files, heads)
        (partial / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _text(path: Path) -> str:
    try:
        return read_regular(path, MOST_JSON, refuse=lambda reason: InputError(f"{path}: {reason}")).decode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a text") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; expected a text") from None


def _check_plain(settings: ExportSettings, checkpoint: Path) -> None:
    """The gate of precisions, and the graphs of other engines, know LexLIP's heads alone."""
    graphs = [graph.value for graph in settings.graphs if graph is not FurtherGraph.MERGED]
    precisions = [precision for precision in settings.precisions if precision != "f32"]
    if graphs or precisions:
        raise InputError(
            f"{checkpoint}: {', '.join([*precisions, *graphs])} cannot be made of VDR or D2S; leave it out"
        )


def _check_anserini(text: TextSettings) -> None:
    """Java's encoder gives the graph a query as it stands, and the graph cuts on the right."""
    if prompt := text.prompt("query"):
        raise BundleError(f"the graph 'anserini' cannot put the prompt {prompt!r} before a query; leave it out")
    if text.truncation_side == "left":
        raise BundleError("the graph 'anserini' cuts long queries on the right, this model on the left; leave it out")


def _write_model(
    files: BundleFolder,
    model: LexLIP,
    text: TextSettings | None,
    tokenizer: Tokenizer | None,
    settings: ExportSettings,
    gate: GateSettings,
    static: npt.NDArray[np.float32] | None,
    head_fields: HeadFields,
) -> ParityReport | None:
    """Every file that the model determines; returns the parity report, which is among them."""
    if tokenizer is not None:
        files["tokenizer.json"] = plain(tokenizer).to_str(pretty=True).encode()
    if head_fields.term_tokens is not None:
        files[TERM_TOKENS] = json.dumps(head_fields.term_tokens).encode()
    if FurtherGraph.ANSERINI in settings.graphs:
        files[ANSERINI_VOCABULARY] = anserini_vocabulary(model.config, tokenizer)
    backbones = {modality: backbone_graph(model, modality) for modality in model.config.modalities}
    precise, parity = precision_graphs(model, tokenizer, backbones, settings, gate)
    if parity is not None:
        files[PARITY] = (parity.model_dump_json(indent=2) + "\n").encode()
    heads: dict[str, npt.NDArray[Any]] = {}
    for modality in model.config.modalities:
        weight, bias = decoder(model, modality)
        weight, stored = _stored_decoder(weight, modality, model.config, settings)
        heads |= stored | {f"{modality}.bias": bias}
        # Taken out, so that one tower's graphs are gone from memory before the next one's are written.
        exact, exact_data = backbone_file(modality, "f32"), b""
        of_tower = {exact: backbones.pop(modality)}
        of_tower |= {name: precise.pop(name) for name in list(precise) if name.startswith(f"onnx/{modality}_")}
        top_k = min(getattr(settings, f"{modality}_top_k"), len(bias))
        options = head_fields.graph_options(modality, text, model.config.suppressed_ids, len(bias))
        of_tower[f"onnx/{modality}_head.onnx"] = head_graph(weight, bias, top_k, modality == "text", **options)
        further = further_graphs(model, modality, of_tower, tokenizer, settings)
        metadata = graph_metadata(model.config, settings, modality, text)
        # Each graph is changed once it is its turn, so those made from others come first.
        for name, graph in itertools.chain(further, of_tower.items()):
            onnx.helper.set_model_props(graph, metadata)
            stored = _STORE[settings.storage](graph)
            if name == backbone_file(modality, "int8") and settings.shares_weights:
                share_weights(stored, exact_data, PurePosixPath(exact).name)
            files[name] = data = stored.SerializeToString(deterministic=True)
            exact_data = data if name == exact else exact_data
    if static is not None:
        heads[STATIC_WEIGHT] = static
    files[HEADS] = save(heads)
    return parity


_STORE: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "f32": lambda graph: graph,
    "f16": store_half,
    "i8": store_int8,
}


def _stored_decoder(
    weight: npt.NDArray[np.float32], modality: Modality, config: ModelConfig, settings: ExportSettings
) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[Any]]]:
    """A decoder (V, H) as storing rounds it, which every copy of it has to be, and its tensors by name."""
    if settings.storage == "i8":
        owner = "" if config.tie_decoders else f"{modality}."
        values, scale = to_int8(weight, axis=0)
        return values * scale, {f"{owner}weight": values, f"{owner}scale": scale[:, 0]}
    half = settings.storage == "f16"
    stored = to_half(weight, f"the {modality} decoder") if half else weight
    return stored.astype(np.float32), {f"{modality}.weight": stored}


def _manifest(
    config: ModelConfig,
    text: TextSettings | None,
    tokenizer: Tokenizer | None,
    training: dict[str, Any],
    settings: ExportSettings,
    files: BundleFolder,
    heads: HeadFields,
) -> Manifest:
    unknown = None if tokenizer is None else tokenizer.token_to_id("[UNK]")
    if tokenizer is not None and unknown is None:
        raise BundleError("the tokenizer has no [UNK], which stands in for an empty vector")
    image = config.image
    try:
        return Manifest.model_validate(
            {
                "format_version": _format_version(text, settings, heads),
                "name": config.name,
                "vocab_size": config.vocab_size,
                "hidden_size": config.hidden_size,
                "image": image
                and {
                    "size": image.image_size,
                    "resize": image.resize,
                    "mean": image.mean,
                    "std": image.std,
                    "cpu_precision": settings.cpu_precision,
                    **heads.of_images(),
                },
                "text": text,
                "tokenizer": None if tokenizer is None else "tokenizer.json",
                "tokens": heads.tokens(),
                "similarity": settings.similarity,
                "suppressed_ids": config.suppressed_ids,
                "placeholder_id": None if unknown is None else heads.term_of(unknown),
                "top_k": {"image": settings.image_top_k, "text": settings.text_top_k},
                "quantisation": {"scale": settings.scale, "cap": settings.cap},
                "provenance": {
                    "training": {key: value for key, value in training.items() if key != "log"},
                    "storage": settings.storage,
                    "exported_with": {name: version(name) for name in ("lexlip-infer", "torch", "onnx")},
                },
                "files": dict(sorted(files.records.items())),
            }
        )
    except pydantic.ValidationError as error:
        raise BundleError(f"{config.name}: no bundle can say so of a model: {first_fault(error)}") from None


def _format_version(text: TextSettings | None, settings: ExportSettings, heads: HeadFields) -> int:
    """The lowest that has what the bundle needs, for the sake of older engines."""
    if settings.shares_weights or settings.cpu_precision != "f32":
        return FORMAT_VERSION
    return max(
        4 if settings.storage == "i8" else 2, format_of(heads.needed() | (set() if text is None else text.needed))
    )


def graph_metadata(
    config: ModelConfig, settings: ExportSettings, modality: Modality, text: TextSettings | None
) -> dict[str, str]:
    """The manifest's fields that matter to whoever feeds this modality's graphs or reads their outputs.

    Args:
        config: of the model.
        settings: of the export.
        modality: which tower.
        text: how texts are encoded.

    Returns:
        Values by key; whatever is no string is JSON.
    """
    fields: dict[str, object] = {
        "name": config.name,
        "lexlip_version": version("lexlip-infer"),
        "modality": modality,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "similarity": settings.similarity,
        "top_k": settings.image_top_k if modality == "image" else settings.text_top_k,
        "scale": settings.scale,
        "cap": settings.cap,
    }
    if modality == "image" and (image := config.image):
        fields |= {"image_size": image.image_size, "resize": image.resize, "mean": image.mean, "std": image.std}
    elif modality == "text" and text is not None:
        fields |= text.model_dump()
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
