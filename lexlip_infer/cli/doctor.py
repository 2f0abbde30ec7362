"""`lexlip doctor`: what is installed, which path encoding will take, and why."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from lexlip_infer.errors import LexLIPError

#: Distributions that this project uses, and the extra that brings them; None marks the base install.
_DISTRIBUTIONS = {
    "numpy": None,
    "scipy": None,
    "numba": None,
    "onnxruntime": None,
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
}

#: Encoded with the shipped model to see whether it works.
_WORD = "dog"


def doctor() -> None:
    """Print versions, the paths that backbone, head and search will take here, and what is wrong."""
    typer.echo(f"lexlip-infer {version('lexlip-infer')}, Python {platform.python_version()}, {platform.platform()}")
    for name, extra in _DISTRIBUTIONS.items():
        _line(name, _installed(name) or _absent(name, extra))
    problems = _missing()
    if not problems:
        _print_paths()
        problems = [*_two_runtimes(), *_check_model()]
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(2)
    typer.echo("no problems found")


def _line(name: str, text: str) -> None:
    typer.echo(f"  {name:<16} {text}")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _absent(name: str, extra: str | None) -> str:
    if extra is None:
        return f"missing: pip install {name}"
    return f"not installed (only for the extra {extra!r}: pip install 'lexlip-infer[{extra}]')"


def _missing() -> list[str]:
    """What the base install must have; onnxruntime-gpu owns the same folder as onnxruntime."""
    names = [name for name, extra in _DISTRIBUTIONS.items() if extra is None and not _installed(name)]
    if _installed("onnxruntime-gpu"):
        names = [name for name in names if name != "onnxruntime"]
    return [f"{name} is missing: pip install {name}" for name in names]


def _print_paths() -> None:
    from lexlip_infer.runtime.threads import thread_count
    from lexlip_kernels import available_backends

    native = "native" in available_backends()
    typer.echo("paths")
    _line("backbone", f"ONNX Runtime on the CPU, float32, {thread_count(None)} threads (those available)")
    _line("lexicon head", "vocabulary-tiled ONNX graph on the CPU, float32")
    _line("search", f"{'native C++' if native else 'numpy reference'}, {_why(native)}")


def _why(native: bool) -> str:
    if native:
        return "because the compiled module loads"
    return "because the compiled module does not load: reinstall with a C++ compiler to get it"


def _two_runtimes() -> list[str]:
    if not (_installed("onnxruntime") and _installed("onnxruntime-gpu")):
        return []
    cure = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    return [f"onnxruntime and onnxruntime-gpu are both installed and overwrite each other: {cure}"]


def _check_model() -> list[str]:
    """Whether the shipped model is whole and encodes a word, on the path that every command takes."""
    from lexlip_infer.bundle import shipped_bundle
    from lexlip_infer.encoder import LexLIPEncoder

    try:
        encoder = LexLIPEncoder.from_pretrained(shipped_bundle())
        for name in encoder.manifest.files:
            encoder.bundle.read(name)
        (terms,) = encoder.decode(encoder.encode_texts([_WORD], show_progress_bar=False), 3)
    except LexLIPError as error:
        return [str(error)]
    except Exception as error:  # noqa: BLE001  (a broken installation may raise anything, and that is to be shown here)
        return [f"the shipped model cannot be run ({type(error).__name__}: {error}); install lexlip-infer again"]
    typer.echo("model")
    _line(encoder.manifest.name, f"{len(encoder.manifest.files)} files, hashes match")
    _line(f"{_WORD!r} becomes", "  ".join(f"{term} {weight:.2f}" for term, weight in terms))
    return []
