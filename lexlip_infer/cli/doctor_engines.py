"""What `lexlip doctor` says about search engines that extras bring, found out without starting Java in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version

from lexlip_infer.errors import LexLIPError, require

__all__ = ["search_engines"]


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
