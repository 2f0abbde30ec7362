"""The engines by name: how each recognises, opens and builds its indexes. Nothing else knows them all.

An engine's own modules, and the packages of its extra, are imported when it is first used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lexlip_infer.collection.manifest import EncodedWith, RunSettings, is_output, read_manifest
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import Folder, read_regular, write_whole
from lexlip_infer.search.engine import SearchEngine

if TYPE_CHECKING:
    import numpy.typing as npt

    from lexlip_infer.search.bm25 import BM25Engine
    from lexlip_infer.search.dense import DenseEngine
    from lexlip_infer.search.exact.engine import ExactEngine
    from lexlip_infer.vocabulary import Vocabulary

#: Where an index says in which folder its photographs lie, and the bytes of it that are read.
_IMAGES, _IMAGES_LIMIT = "images.json", 100_000


@dataclass(frozen=True, slots=True)
class OpenedIndex:
    """An index, ready to be asked.

    Attributes:
        searcher: the engine's own object.
        documents: N, that a search can find.
        encoded_with: how queries have to be encoded, where that is known.
        vocabulary: of queries; nothing where they are texts or dense vectors.
        images: folder that the ids are paths in, where documents are photographs and it is known.
        impacts_of: impacts of a document for some terms, where the engine can tell.
    """

    searcher: SearchEngine[Any]
    documents: int
    encoded_with: EncodedWith | None = None
    vocabulary: Vocabulary | None = None
    images: Path | None = None
    impacts_of: Callable[[str, npt.NDArray[np.int32]], npt.NDArray[np.int32]] | None = None

    def shares(self, queries: Any, number: int, name: str) -> tuple[tuple[str, int], ...]:
        """Terms that a query has in common with a document, and their shares of the score, largest first."""
        if self.impacts_of is None or self.vocabulary is None:
            return ()
        terms, impacts = queries.row(number)
        shares = impacts.astype(np.int64) * self.impacts_of(name, terms)
        order = np.lexsort((terms, -shares))
        return tuple((self.vocabulary.terms[terms[i]], int(shares[i])) for i in order if shares[i])


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What some engines take beside documents and place.

    Attributes:
        model: bundle that the documents were encoded with, where it has moved (exact).
        ids: of dense vectors, a list or a file of one a line (faiss).
        kind: of index (faiss).
    """

    model: str | None = None
    ids: Path | Sequence[str] | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """One kind of index.

    Attributes:
        name: as `--engine` takes it.
        label: with its article, for messages.
        queries: what it is asked with.
        changes: whether documents can be added and deleted.
        options: of `BuildOptions`, those that it alone takes.
    """

    name: str
    label: str
    queries: Literal["impacts", "texts", "vectors"]
    changes: bool = False
    options: tuple[str, ...] = ()


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("exact", "an exact", "impacts", changes=True),
        Engine("anserini", "an Anserini", "impacts"),
        Engine("bm25", "a BM25", "texts"),
        Engine("faiss", "a Faiss", "vectors", options=("ids", "kind")),
    )
}
"""By name; the first is the default."""


def find_engine(path: Path, wanted: str = "auto") -> Engine | None:
    """The engine that an index is of; nothing where it is none, or is not there.

    Raises:
        InputError: there is no engine of that name, or the index is of another one.
    """
    if wanted != "auto" and wanted not in ENGINES:
        raise InputError(f"--engine {wanted}: no such engine; expected one of {', '.join(('auto', *ENGINES))}")
    found = _recognise(path)
    name = found or "exact"  # an output of lexlip-encode is searched exactly
    if wanted not in {"auto", name} and path.exists():
        raise InputError(f"{path} is for the engine {name}, not {wanted}; build another index with lexlip index")
    return None if found is None else ENGINES[found]


def _recognise(path: Path) -> str | None:
    if path.is_file() and path.with_name(f"{path.name}.json").is_file():
        return "faiss"
    if (path / "lucene").is_dir():
        from lexlip_infer.search.anserini.lucene import read_record

        return read_record(path).engine
    # What a killed build has left is called an unfinished index, and not an output.
    return "exact" if (path / "index.json").exists() or (not is_output(path) and (path / "segments").exists()) else None


def open_index(path: Path, engine: Engine | None, model: str | None = None) -> OpenedIndex:
    """Open an index, or what lexlip-encode wrote as it lies there.

    Args:
        path: of the index.
        engine: of `find_engine`.
        model: bundle that the documents were encoded with, where it has moved.

    Raises:
        OutputError: it is neither, or is damaged.
        BundleError: the terms are those of a model that is not there.
        InputError: the model is another one.
        MissingExtra: a package of the engine is not installed.
        BackendUnavailable: the engine cannot run here.
    """
    index: ExactEngine | BM25Engine | DenseEngine
    if engine is None:
        return _open_output(path, model)
    if engine.name == "anserini":
        return _open_anserini(path, model)
    if engine.name == "bm25":
        from lexlip_infer.search.bm25 import BM25Engine

        index = BM25Engine.open(path)
    elif engine.name == "faiss":
        from lexlip_infer.search.dense import DenseEngine

        index = DenseEngine.open(path)
    else:
        from lexlip_infer.search.exact.engine import ExactEngine

        index = ExactEngine.open(path)
        return OpenedIndex(index, index.documents, index.manifest.encoded_with, index.vocab, None, index.impacts_of)
    return OpenedIndex(index, index.documents)


def _open_output(path: Path, model: str | None) -> OpenedIndex:
    from lexlip_infer.collection.collection import Collection
    from lexlip_infer.search.exact.engine import OutputEngine

    if not is_output(path):
        raise OutputError(f"{path}: neither an index nor the output of lexlip-encode; build one with lexlip index")
    documents = Collection.open_output(path, model=model, unfinished=True)
    output = OutputEngine.open(documents)
    encoded_with = documents.manifest.settings.encoded_with if documents.manifest else None
    return OpenedIndex(output, output.documents, encoded_with, documents.vocabulary, images_of(path), output.impacts_of)


def _open_anserini(path: Path, model: str | None) -> OpenedIndex:
    from lexlip_infer.search.anserini import AnseriniEngine, read_record

    settings = read_record(path, "anserini").settings
    if settings is None:
        raise InputError(
            f"{path} does not say which model encodes its queries; index what lexlip-encode wrote, or use "
            "--engine exact, whose index holds its own terms"
        )
    vocabulary = settings.encoded_with.open_bundle(path, model).vocabulary()
    index = AnseriniEngine.open(path, vocabulary.terms)
    return OpenedIndex(index, index.documents, settings.encoded_with, vocabulary, _photographs(settings))


def build_index(source: Path, path: Path, engine: str, options: BuildOptions, threads: int) -> int:
    """Build a new index; its number of documents.

    Args:
        source: the documents; see `Index.build`.
        path: of the index.
        engine: its name.
        options: of engines that take some.
        threads: at least 1.

    Raises:
        InputError: there is no such engine, it does not take one of the options, or the documents are malformed.
        OutputError: the index exists or cannot be written.
    """
    chosen = named_engine(engine)
    for name in ("ids", "kind"):
        if getattr(options, name) is not None and name not in chosen.options:
            raise InputError(f"--{name} means nothing to the engine {engine}; leave it out")
    if engine == "anserini":
        from lexlip_infer.search.anserini import build_anserini_index

        return build_anserini_index(source, path, threads).documents
    if engine == "bm25":
        from lexlip_infer.search.bm25 import build_bm25_index

        return build_bm25_index(source, path, threads).documents
    if engine == "faiss":
        from lexlip_infer.search.dense import build_dense_index

        if options.ids is None:
            raise InputError(f"{source}: dense vectors have no ids of their own; give them with --ids FILE, one a line")
        return len(build_dense_index(source, options.ids, options.kind or "flat", path, threads).ids)
    from lexlip_infer.search.exact.building import build_exact_index

    return build_exact_index(source, path, threads, options.model)


def named_engine(name: str) -> Engine:
    """An engine by its name.

    Raises:
        InputError: there is none.
    """
    if name not in ENGINES:
        raise InputError(f"--engine {name}: no such engine; expected one of {', '.join(ENGINES)}")
    return ENGINES[name]


def check_changes(path: Path, wanted: str = "exact") -> None:
    """Refuse to change an index whose engine cannot.

    Raises:
        InputError: it cannot; the message names it.
    """
    engine = named_engine(wanted) if wanted != "exact" else find_engine(path)
    if engine is not None and not engine.changes:
        raise InputError(f"{engine.label} index cannot be changed; build it again, or use --engine exact")


def images_of(output: Path) -> Path | None:
    """The folder whose photographs lexlip-encode has written to an output, where ids are paths in it."""
    return _photographs(read_manifest(output).settings) if is_output(output) else None


def _photographs(settings: RunSettings) -> Path | None:
    # Not `is_dir` of a path, which raises for what is too long to be one: several sources stand there side by side.
    is_folder = settings.modality == "image" and os.path.isdir(settings.source)  # noqa: PTH112
    return Path(settings.source) if is_folder else None


def remember_images(index: Path, images: Path) -> None:
    """Keep the folder of an index's photographs with it."""
    write_whole(index / _IMAGES, (json.dumps({"images": str(images)}) + "\n").encode())


def remembered_images(index: Path) -> Path | None:
    """What `remember_images` has kept, if it has.

    Raises:
        OutputError: its file is a link, no regular file, or damaged.
    """

    def refuse(reason: object) -> OutputError:
        return OutputError(f"{index / _IMAGES}: damaged ({reason}); remove it, and name the folder with images=")

    try:
        with Folder.open(index) as folder:
            data = read_regular(_IMAGES, _IMAGES_LIMIT, refuse=refuse, folder=folder)
        return Path(json.loads(data)["images"])
    except OutputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise refuse(error) from None
