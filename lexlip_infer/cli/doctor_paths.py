"""What `lexlip doctor` says of this machine: paths that are taken, every other with what it lacks, search engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version

from lexlip_infer.bundle import Bundle
from lexlip_infer.errors import BackendUnavailable, LexLIPError, MissingExtra, require
from lexlip_infer.manifest import MODALITIES
from lexlip_infer.runtime.choice import LOOKUP_PATH, PathChoice, RuntimeOptions, choose_path
from lexlip_infer.runtime.machine import Machine

#: What can be asked for by name, as `lexlip-encode` takes it.
_WISHES = {
    "--precision int8": RuntimeOptions(precision="int8"),
    "--precision int8 --backend openvino": RuntimeOptions(precision="int8", backend="openvino"),
    "--precision bf16": RuntimeOptions(precision="bf16"),
    "--device cuda": RuntimeOptions("cuda"),
    "--device cuda --precision fp16": RuntimeOptions("cuda", "fp16"),
    "--device cuda --head triton": RuntimeOptions("cuda", head="triton"),
}


def taken_paths(bundle: Bundle, machine: Machine) -> Iterator[tuple[str, str]]:
    """Each tower of the bundle, and what runs it when nothing is asked for."""
    for modality in MODALITIES:
        if bundle.has_tower(modality) and not bundle.precisions(modality):
            yield modality, LOOKUP_PATH.reason
        elif bundle.has_tower(modality):
            path = choose_path(
                RuntimeOptions(), machine, modality, bundle.manifest.files, bundle.manifest.cpu_precision
            )
            yield modality, f"{_described(path)}: {path.reason}"


def other_paths(bundle: Bundle, machine: Machine, runs_bf16: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """Options of `lexlip-encode`, and where each leads: a path, or what is missing and how to get it.

    Args:
        bundle: of the first tower that it has.
        machine: this one.
        runs_bf16: whether OpenVINO has bf16 on this CPU; asked only where it would be used.
    """
    modality = next((name for name in MODALITIES if bundle.precisions(name)), None)
    if modality is None:
        return
    for wish, options in _WISHES.items():
        try:
            path = choose_path(options, machine, modality, bundle.manifest.files, bundle.manifest.cpu_precision)
        except BackendUnavailable as error:
            yield wish, f"no: {str(error).partition(', but ')[2]}"
        except MissingExtra as error:
            yield wish, f"no: {error}"
        else:
            lacking = path.precision == "bf16" and not runs_bf16()
            yield wish, "no: this CPU has no bf16" if lacking else f"yes: {_described(path)}"


def _described(path: PathChoice) -> str:
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    return f"{names[path.backend]} {path.precision} on {path.device}, {path.head} head"


def search_engines() -> Iterator[tuple[str, str]]:
    """Anserini and Faiss, and whether each runs here, or what is missing and how to get it."""
    for name, check in (("Anserini, BM25", _anserini), ("Faiss", _faiss)):
        try:
            yield name, f"yes: {check()}"
        except (LexLIPError, ImportError) as error:  # a broken installation may raise the latter
            yield name, f"no: {error}"


def _anserini() -> str:
    from lexlip_infer.search.anserini import check_java
    from lexlip_infer.search.anserini.java import anserini_jar

    jar = anserini_jar().name.removesuffix("-fatjar.jar")
    return f"{jar} of pyserini {version('pyserini')}, on {check_java()}"


def _faiss() -> str:
    check: Callable[[], str] = require("faiss", "faiss").get_compile_options
    return f"{require('faiss', 'faiss').__version__}, compiled for {check().strip() or 'any CPU'}"
