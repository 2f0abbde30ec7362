"""`lexlip search`: queries against an index, or against what `lexlip-encode` wrote as it lies there."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lexlip_infer.cli.options import QueryMode, Threads
from lexlip_infer.cli.shell import counted, refuse_existing
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.collection.manifest import RunManifest
    from lexlip_infer.search.engine import Hit, Ranking
    from lexlip_infer.search.index import Index
    from lexlip_infer.vectors.sparse_batch import SparseBatch

#: Terms of a hit that the table shows.
_SHOWN_TERMS = 6
_NO_HIT = "no document shares a term with the query"
_NO_WORD = "the query holds no word the model knows"


@dataclass(frozen=True, slots=True)
class QuerySource:
    """Where queries come from: one of four ways to give them; the others are empty."""

    words: str
    image: Path | None
    texts: Path | None
    vectors: Path | None
    mode: str | None

    def check(self) -> None:
        """Refuse none, and more than one; and a mode of texts for what is none."""
        given = [bool(self.words.strip()), self.image is not None, self.texts is not None, self.vectors is not None]
        if sum(given) != 1:
            raise InputError("give one of a query in words, --image FILE, --queries FILE and --query-vectors PATH")
        if self.mode not in (None, "tower") and (self.image or self.vectors):
            raise InputError(f"--query-mode {self.mode} is for words and --queries; leave it out")

    @property
    def single(self) -> bool:
        """Whether it is one query, answered for a person."""
        return self.texts is None and self.vectors is None


@dataclass(frozen=True, slots=True)
class Queries:
    """Queries in the form that the index takes.

    Attributes:
        ids: (Q,).
        values: impacts (Q, V), texts, or dense vectors (Q, D).
        known: whether they hold anything that could be found.
        weights: what the model gave, (Q, V); nothing where none was asked.
    """

    ids: list[str]
    values: Any
    known: bool = True
    weights: SparseBatch | None = None


def search(
    collection: Annotated[
        Path, typer.Argument(metavar="IDX", help="index, or folder that lexlip-encode wrote, indexed on the fly")
    ],
    words: Annotated[list[str] | None, typer.Argument(metavar="WORDS", help="what to look for")] = None,
    image: Annotated[
        Path | None, typer.Option(metavar="FILE", help="look for what this image shows, instead of words")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="texts (.jsonl, .tsv, .csv, .txt), instead of words")
    ] = None,
    query_vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="encoded queries: what lexlip-encode wrote, JSON lines, topics (.tsv), or dense (.npy)"
        ),
    ] = None,
    hits: Annotated[int, typer.Option(metavar="N", min=1, help="results")] = 10,
    query_mode: QueryMode = None,
    engine: Annotated[
        str, typer.Option(metavar="NAME", help="auto (whatever IDX is for), exact, anserini, bm25 or faiss")
    ] = "auto",
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="write a TREC run file")] = None,
    tag: Annotated[str, typer.Option(metavar="NAME", help="of the TREC run")] = "lexlip",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle  [default: the one IDX was encoded with]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    threads: Threads = None,
) -> None:
    """Search IDX and print rank, score, file and the terms that matched, with their share of the score.

    The score is the integer dot product of the impacts of query and document, exactly as Anserini computes it. Where
    the output is no terminal, each hit is one line of four fields with tabs between them (rank, score, file, terms).
    With --queries or --query-vectors, the output is a TREC run, whose scores strictly decrease.
    """
    from lexlip_infer.search.index import Index

    source = QuerySource(" ".join(words or ()), image, queries, query_vectors, query_mode)
    source.check()
    if output is not None and as_json:
        raise InputError("give either --output FILE, which is a TREC run, or --json")
    refuse_existing(output)
    index = Index.open(collection, engine=engine, model=model, threads=threads)
    found = _load(source, index)
    ranking = index.rank(found.values, hits)
    _warn_if_incomplete(collection)
    if output is not None or not (source.single or as_json):
        _write_run(output, found.ids, ranking, tag)
    elif source.single:
        _print_hits(index.hits(found.values, ranking)[0], found, index, as_json)
    else:
        _print_json(found.ids, ranking, index)
    if not any(ranking.ids):
        typer.echo(f"nothing found: {_NO_HIT if found.known or image or query_vectors else _NO_WORD}", err=True)


def _load(source: QuerySource, index: Index) -> Queries:
    """Encode or read the queries.

    Raises:
        InputError: they are malformed, the engine takes no such queries, or the model is not the one of the documents.
    """
    if source.vectors is not None:
        return _read_vectors(source.vectors, index)
    ids, asked = (["1"], [source.image or source.words]) if source.texts is None else _read_texts(source.texts)
    if index.takes != "impacts":
        return Queries(ids, index.queries(asked, source.mode))
    weights = index.query_encoder.weights(asked, source.mode)
    impacts = index.query_encoder.impacts(weights)
    return Queries(ids, impacts, bool(len(impacts.indices)), weights)


def _read_vectors(path: Path, index: Index) -> Queries:
    from lexlip_infer.search.queries import read_dense_queries, read_query_vectors

    if index.takes == "vectors":
        return Queries(*read_dense_queries(path))
    if index.vocabulary is None:
        raise InputError(f"{index.path} is for the engine {index.engine}, which takes words; give --queries FILE")
    read = read_query_vectors(path, index.vocabulary)
    if read.unknown:
        typer.echo(f"{path}: {counted(read.unknown, 'term')} unknown to {index.path} can match nothing", err=True)
    return Queries(read.ids, read.impacts)


def _read_texts(file: Path) -> tuple[list[str], list[str]]:
    from lexlip_infer.inputs.items import BadItem
    from lexlip_infer.inputs.readers import open_texts

    ids, texts = [], []
    for item in open_texts([str(file)]):
        if isinstance(item, BadItem):
            raise InputError(f"{item.origin}: {item.error}")
        ids.append(item.id)
        texts.append(item.text)
    return ids, texts


def _write_run(output: Path | None, query_ids: list[str], ranking: Ranking, tag: str) -> None:
    from lexlip_infer.search.trec_run import trec_lines, write_trec_run

    if output is not None:
        write_trec_run(output, query_ids, ranking, tag)
        return
    for line in trec_lines(query_ids, ranking, tag):
        typer.echo(line, nl=False)


def _print_json(query_ids: list[str], ranking: Ranking, index: Index) -> None:
    for query_id, ids, scores in zip(query_ids, ranking.ids, ranking.scores, strict=True):
        for rank, (name, score) in enumerate(zip(ids, index.plain(scores), strict=True), start=1):
            row = {"query": query_id, "rank": rank, "score": score, "id": name}
            typer.echo(json.dumps(row, ensure_ascii=False))


def _print_hits(results: list[Hit], queries: Queries, index: Index, as_json: bool) -> None:
    if results and not as_json and sys.stdout.isatty():
        _print(results, queries, index)
        return
    for hit in results:
        if as_json:
            row = {"rank": hit.rank, "score": hit.score, "id": hit.id, "terms": hit.terms}
            typer.echo(json.dumps(row, ensure_ascii=False))
        else:
            typer.echo("\t".join((str(hit.rank), str(hit.score), _printable(hit.id), _matching(hit))))


def _warn_if_incomplete(collection: Path) -> None:
    """Only an output of lexlip-encode can be; nothing unfinished is indexed."""
    from lexlip_infer.collection.manifest import MANIFEST, read_manifest

    if (collection / MANIFEST).exists():
        manifest = read_manifest(collection)
        if not manifest.complete:
            typer.echo(f"{collection} is incomplete: {_progress(manifest)}", err=True)


def _progress(manifest: RunManifest) -> str:
    done = manifest.documents + manifest.failed
    return f"{counted(done, manifest.settings.modality)} encoded so far; run the same lexlip-encode command to finish"


def _print(results: list[Hit], queries: Queries, index: Index) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if queries.weights is not None:
        words = "  ".join(
            f"{term} {weight:.2f}" for term, weight in index.query_encoder.encoder.decode(queries.weights, 8)[0]
        )
        console.print(f"[dim]query terms:[/dim] {escape(words)}")
    table = Table("rank", "score", "file", "matching terms", box=None, pad_edge=False)
    for hit in results:
        table.add_row(str(hit.rank), str(hit.score), escape(_printable(hit.id)), escape(_matching(hit)))
    console.print(table)


def _matching(hit: Hit) -> str:
    return "  ".join(f"{term} {share}" for term, share in hit.terms[:_SHOWN_TERMS])


def _printable(name: str) -> str:
    """A file name may hold tabs, line ends and terminal commands; --json gives it as it is."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: match[0].encode("unicode_escape").decode(), name)
