"""`Index`: a collection that can be searched, whatever engine answers; what `lexlip index` and `lexlip search` run on.

    from lexlip_infer import Index

    with Index.from_images("photographs") as index:            # encoded and indexed, in a temporary folder
        for hit in index.search("a dog on the beach", k=5):
            print(hit.rank, hit.score, hit.path, hit.terms)

The engines are those of `lexlip_infer.search.registry`. What an engine cannot do is refused by its name, never
imitated: only the exact one changes its indexes, BM25 takes words alone, and Faiss dense vectors of another model.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import numpy.typing as npt

from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.runtime.machine import thread_count
from lexlip_infer.search import registry
from lexlip_infer.search.engine import Hit, Ranking
from lexlip_infer.search.queries import QueryEncoder, check_texts, stack_vectors
from lexlip_infer.vectors.sparse_batch import SparseBatch

if TYPE_CHECKING:
    from PIL import Image

    from lexlip_infer.collection.part_file import Failure
    from lexlip_infer.search.description import IndexDescription

    Query = str | Path | bytes | Image.Image | npt.NDArray[Any]


class Index:
    """N documents that can be searched. Make it with `from_images`, `build` or `open`; close it, or use it in `with`.

    Attributes:
        path: of the index.
        documents: N, deleted ones not counted.
        vocabulary: V terms of queries and documents; nothing of BM25 and Faiss.
        query_encoder: the model of its queries, loaded when the first one is encoded.
        failures: photographs that `from_images` left out because they cannot be decoded, and why.
    """

    def __init__(
        self,
        path: Path,
        engine: registry.Engine | None,
        *,
        model: str | Path | None = None,
        images: Path | None = None,
        threads: int | None = None,
    ) -> None:
        self.path = path
        self._engine, self._threads = engine, thread_count(threads)
        self._model = None if model is None else str(model)
        self._images, self._closed = images, False
        self.failures: tuple[Failure, ...] = ()
        self._remove: Callable[[], object] | None = None
        self._load()
        self.query_encoder = QueryEncoder(self.path, self._opened.encoded_with, self._model, self._threads)

    def _load(self) -> None:
        self._opened = registry.open_index(self.path, self._engine, self._model)
        self.documents, self.vocabulary = self._opened.documents, self._opened.vocabulary

    @classmethod
    def from_images(
        cls,
        images: str | Path,
        path: str | Path | None = None,
        *,
        engine: str = "exact",
        model: str | Path | None = None,
        top_k: int | None = None,
        threads: int | None = None,
    ) -> Self:
        """Encode a folder of photographs and index it.

            index = Index.from_images("photographs", "photographs.idx")
            index.documents, len(index.failures)               # (6998, 2): two are no images

        To keep what was encoded, or to choose how, use `encode_folder` and then `build`.

        Args:
            images: folder, searched to any depth; a photograph's id is its path below it.
            path: of the index, a new folder; without one it is made in a temporary folder, which goes with this object.
            engine: "exact" or "anserini".
            model: bundle folder or hub id; the shipped model when absent.
            top_k: terms to keep of each photograph; the model's default when absent.
            threads: of everything; all available when absent.

        Raises:
            InputError: there is no image in the folder, or none that can be decoded; or the engine takes no impacts.
            BundleError: there is no such model.
            OutputError: the index exists or cannot be written.
            MissingExtra: a package of the engine is not installed.
        """
        from lexlip_infer.collection.part_file import read_failures
        from lexlip_infer.pipeline.encode import encode_folder

        if registry.named_engine(engine).queries != "impacts":
            raise InputError(f"an index of {engine} holds no impacts of images; expected exact or anserini")
        if not Path(images).is_dir():
            raise InputError(f"{images}: no such folder; expected one of photographs")
        if path is not None and Path(path).exists():
            raise OutputError(f"{path}: exists; name a new folder, or open the index that it is")
        temporary = Path(tempfile.mkdtemp(prefix="lexlip-"))
        try:
            output, place = temporary / "encoded", temporary / "index" if path is None else Path(path)
            encode_folder(images, output, model=model, threads=threads, top_k=top_k)
            index = cls.build(output, place, engine, threads=threads)
            index.failures = read_failures(output)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        if path is None:
            index._remove = weakref.finalize(index, shutil.rmtree, temporary, ignore_errors=True)  # noqa: SLF001
        else:
            shutil.rmtree(temporary, ignore_errors=True)
        return index

    @classmethod
    def build(
        cls,
        collection: str | PathLike[str],
        path: str | Path,
        engine: str = "exact",
        *,
        model: str | Path | None = None,
        ids: str | Path | Sequence[str] | None = None,
        kind: str | None = None,
        threads: int | None = None,
    ) -> Self:
        """Index documents.

            index = Index.build("OUT", "IDX")                  # OUT: what lexlip-encode wrote

        Args:
            collection: for "exact" and "anserini" a `Collection`, or what `lexlip-encode` wrote, or anyone's
                JSON lines; for "bm25" texts, as `lexlip-encode --texts` takes them; for "faiss" an `.npy` of (N, D)
                unit vectors.
            path: of the index, which must not exist: a folder, of Faiss a file.
            engine: "exact", "anserini", "bm25" or "faiss".
            model: bundle that the documents were encoded with, where it has moved.
            ids: of dense vectors, N or a file of one a line (faiss).
            kind: "flat", "hnsw" or "ivfpq" (faiss).
            threads: all available when absent.

        Raises:
            InputError: there is no such engine, it does not take one of these arguments, or the documents are
                malformed, incomplete, or none.
            OutputError: a part file has changed since it was written, or the index exists or cannot be written.
            MissingExtra: a package of the engine is not installed.
            BackendUnavailable: the engine cannot run here.
        """
        ids = Path(ids) if isinstance(ids, str) else ids
        options = registry.BuildOptions(None if model is None else str(model), ids, kind)
        registry.build_index(Path(collection), Path(path), engine, options, thread_count(threads))
        index = cls(Path(path), registry.named_engine(engine), model=model, threads=threads)
        images = registry.images_of(Path(collection))
        if images is not None and index.engine == "exact":
            registry.remember_images(index.path, images)
        return index

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        engine: str = "auto",
        model: str | Path | None = None,
        images: str | Path | None = None,
        threads: int | None = None,
    ) -> Self:
        """Open an index, or what `lexlip-encode` wrote as it lies there, indexed in memory.

            index = Index.open("IDX")
            index.search(Path("photo.jpg"))

        Args:
            path: index folder of any engine, Faiss' file, or output folder.
            engine: "auto", or what the index has to be for.
            model: bundle that the documents were encoded with, where it has moved.
            images: folder that the photographs' ids are paths in, where the index does not know it.
            threads: of searches and of encoding queries; all available when absent.

        Raises:
            OutputError: it is neither an index nor an output, or is damaged.
            InputError: the index is of another engine, or the model is another one.
            BundleError: the terms are those of a model that is not there.
            MissingExtra: a package of the engine is not installed.
            BackendUnavailable: the engine cannot run here.
        """
        found = registry.find_engine(Path(path), engine)
        folder = None if images is None else Path(images)
        return cls(Path(path), found, model=model, images=folder, threads=threads)

    @property
    def engine(self) -> str:
        """Name of what answers; an output of lexlip-encode is searched exactly."""
        return "exact" if self._engine is None else self._engine.name

    @property
    def description(self) -> IndexDescription:
        """Counts and sizes.

        Raises:
            OutputError: it is an output of lexlip-encode, which its own manifest describes.
        """
        from lexlip_infer.search.description import describe_index

        return describe_index(self.path)

    @property
    def takes(self) -> str:
        """What its engine is asked with: "impacts", "texts" or "vectors"."""
        return "impacts" if self._engine is None else self._engine.queries

    @overload  # a str is one query, and never a sequence of letters
    def search(self, query: Query, k: int = 10, mode: str | None = ...) -> list[Hit]: ...  # type: ignore[overload-overlap]
    @overload
    def search(self, query: Sequence[Query | SparseBatch], k: int = 10, mode: str | None = ...) -> list[list[Hit]]: ...
    @overload
    def search(self, query: SparseBatch, k: int = 10, mode: str | None = ...) -> list[Hit] | list[list[Hit]]: ...
    def search(self, query: Any, k: int = 10, mode: str | None = None) -> list[Hit] | list[list[Hit]]:
        """The k best documents of a query, or of each of several.

            index.search("a dog", k=3)                         # a str is a text, always
            index.search(Path("dog.jpg"))                      # a Path is an image, as are bytes, Pillow's and arrays
            index.search(["a dog", Path("dog.jpg")])           # a list of hits each
            index.search(encoder.encode_texts(["a dog"]))      # encoded beforehand

        Args:
            query: a text (str); an image (Path, bytes of a file, Pillow image, or (height, width, 3) array of 0-255);
                a SparseBatch of un-normalised weights, of the model of the index; or a list of these. An index of BM25
                takes texts alone; one of Faiss float32 unit vectors, (D,) or (Q, D).
            k: hits of each query; fewer where fewer documents share a term with it, none where it holds no known term.
            mode: of texts: "tower", or "lookup", which runs no model, or None for the model's own way; see
                `LexLIPEncoder.encode_texts`.

        Returns:
            A list of hits, best first, ties by id. Of a list of queries, of a batch of other than one row, and of
            (Q, D) vectors: a list of such lists, in order.

        Raises:
            BundleError: the model has no weights for this mode.
            InputError: k is below 1, the engine takes no such query or mode, or the vectors are of another model.
            ImageError: an image cannot be decoded.
        """
        asked = self.queries(list(query) if isinstance(query, list | tuple) else [query], mode)
        found = self.hits(asked, self.rank(asked, k))
        several = isinstance(query, list | tuple) or len(found) != 1 or (self.takes == "vectors" and query.ndim == 2)
        return found if several else found[0]

    def queries(self, asked: Sequence[Any], mode: str | None = None) -> Any:
        """Queries, as `search` takes them, in the engine's own form: impacts, texts, or dense vectors."""
        if mode not in (None, "tower") and self.takes != "impacts":
            raise InputError(f"{self.path} is for the engine {self.engine}, which asks no model; leave {mode!r} out")
        if self.takes == "texts":
            return check_texts(asked, self.path)
        if self.takes == "vectors":
            return stack_vectors(asked, self.path)
        return self.query_encoder.impacts(self.query_encoder.weights(asked, mode))

    def rank(self, queries: Any, k: int = 10) -> Ranking:
        """The k best documents of each query in the engine's own form, as ids and scores alone.

        Args:
            queries: impacts (Q, V), texts, or unit vectors (Q, D), as `takes` says.
            k: at least 1.

        Raises:
            InputError: k is below 1, or the queries are of another vocabulary or shape.
        """
        if self._closed:
            raise InputError(f"{self.path}: this index is closed; open it again")
        return self._opened.searcher.search(queries, k, self._threads)

    def hits(self, queries: Any, ranking: Ranking) -> list[list[Hit]]:
        """A ranking with paths, and with the terms that matched where the engine can tell."""
        return [
            [
                Hit(rank, score, name, self._opened.shares(queries, number, name), self._path(name))
                for rank, (name, score) in enumerate(zip(ids, self.plain(scores), strict=True), start=1)
            ]
            for number, (ids, scores) in enumerate(zip(ranking.ids, ranking.scores, strict=True))
        ]

    def plain(self, scores: npt.NDArray[np.float64]) -> list[float]:
        """Scores as Python's numbers: of impacts they are whole."""
        return [round(score) for score in scores.tolist()] if self.takes == "impacts" else scores.tolist()

    @cached_property
    def _root(self) -> Path | None:
        """Folder of the photographs."""
        return self._images or self._opened.images or registry.remembered_images(self.path)

    def _path(self, name: str) -> Path | None:
        """Of a document's photograph, where its folder is known and the id, which may be a stranger's, stays in it."""
        inside = PurePosixPath(name)
        return None if self._root is None or inside.is_absolute() or ".." in inside.parts else self._root / inside

    def append(self, collection: str | PathLike[str], *, replace: bool = False) -> int:
        """Add documents; whoever else has the index open goes on searching the state without them.

        Args:
            collection: encoded with the same model.
            replace: documents of the same id, instead of refusing them.

        Raises:
            InputError: the engine changes no index (named), the source was encoded otherwise, or the index has one of
                its ids.
            OutputError: the index is damaged, is being changed by another process, or cannot be written.

        Returns:
            Number of documents that were added.
        """
        from lexlip_infer.search.exact.building import append

        self._check_changes()
        count = append(Path(collection), self.path, self._threads, replace, self._model)
        self._load()
        return count

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents, all of them or none; their number.

        Raises:
            InputError: the engine changes no index (named), or it does not hold one of the ids.
            OutputError: as `append`.
        """
        from lexlip_infer.search.exact.building import delete

        self._check_changes()
        if isinstance(ids, str):
            raise InputError("a single str was given; expected a list of ids: [id]")
        count = delete(self.path, ids)
        self._load()
        return count

    def compact(self) -> None:
        """Leave no trace of deleted documents, and search faster after many appends; results stay the same.

        Raises:
            InputError: the engine changes no index (named).
            OutputError: as `append`.
        """
        from lexlip_infer.search.exact.building import compact

        self._check_changes()
        compact(self.path)
        self._load()

    def _check_changes(self) -> None:
        if self._engine is None:
            raise InputError(f"{self.path} is what lexlip-encode wrote, and no index: build one of it, and change that")
        registry.check_changes(self.path, self._engine.name)

    def close(self) -> None:
        """Let go of the index, and remove a temporary one."""
        self._closed = True
        if self._remove is not None:
            self._remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        return self.documents

    def __repr__(self) -> str:
        return f"Index({self.documents:,} documents in {self.path}, engine {self.engine})"
