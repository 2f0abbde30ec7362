"""`lexlip doctor`: what is installed, which path encoding will take, and why."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

#: Distributions that this project uses, and the extra that brings them; None marks the base install.
_DISTRIBUTIONS = {
    "numpy": None,
    "onnxruntime": None,
    "numba": None,
    "tokenizers": None,
    "pillow": None,
    "torch": "train",
    "timm": "train",
    "transformers": "train",
    "onnx": "export",
}


def doctor() -> None:
    """Print versions, the paths that backbone, head and search will take here, and what is wrong."""
    from lexlip_infer.runtime.threads import thread_count
    from lexlip_kernels import available_backends

    typer.echo(f"lexlip-infer {version('lexlip-infer')}, Python {platform.python_version()}, {platform.platform()}")
    for name, extra in _DISTRIBUTIONS.items():
        typer.echo(f"  {name:<14} {_installed(name) or _absent(name, extra)}")
    native = "native" in available_backends()
    typer.echo("paths")
    typer.echo(f"  backbone       ONNX Runtime on the CPU, float32, {thread_count(None)} threads (those available)")
    typer.echo("  lexicon head   vocabulary-tiled ONNX graph on the CPU, float32")
    typer.echo(f"  search         {'native C++' if native else 'numpy reference'}, {_why(native)}")
    problems = _problems()
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(2)
    typer.echo("no problems found")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _absent(name: str, extra: str | None) -> str:
    if extra is None:
        return f"missing: pip install {name}"
    return f"not installed (only for the extra {extra!r}: pip install 'lexlip-infer[{extra}]')"


def _why(native: bool) -> str:
    if native:
        return "because the compiled module loads"
    return "because the compiled module does not load: reinstall with a C++ compiler to get it"


def _problems() -> list[str]:
    problems = []
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        problems.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
        )
    problems += _bundle_problems()
    return problems


def _bundle_problems() -> list[str]:
    """Whether the shipped model is whole."""
    from lexlip_infer.bundle import Bundle, shipped_bundle
    from lexlip_infer.errors import BundleError

    try:
        bundle = Bundle.open(shipped_bundle())
        for name in bundle.manifest.files:
            bundle.read(name)
    except BundleError as error:
        return [str(error)]
    typer.echo(f"  model          {bundle.manifest.name}, {len(bundle.manifest.files)} files, hashes match")
    return []
