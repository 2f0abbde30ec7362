"""`lexlip search`: queries against an index, or against what `lexlip-encode` wrote as it lies there."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.new_output import refuse_existing
from lexlip_infer.cli.search_queries import Asked, load_queries
from lexlip_infer.cli.shell import Threads, counted
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from lexlip_infer.cli.search_queries import Queries
    from lexlip_infer.collection.manifest import RunManifest
    from lexlip_infer.search.engine import Hit, Ranking

#: Terms of a hit that the table shows.
_SHOWN_TERMS = 6


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
        typer.Option(metavar="PATH", help="encoded queries: what lexlip-encode wrote, JSON lines, topics (.tsv)"),
    ] = None,
    hits: Annotated[int, typer.Option(metavar="N", min=1, help="results")] = 10,
    engine: Annotated[str, typer.Option(metavar="NAME", help="auto (whatever IDX is for), exact or anserini")] = "auto",
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
    from lexlip_infer.runtime.threads import thread_count
    from lexlip_infer.search.searchable import hits_of, open_searchable

    asked = Asked(" ".join(words or ()), image, queries, query_vectors)
    asked.check()
    if output is not None and as_json:
        raise InputError("give either --output FILE, which is a TREC run, or --json")
    refuse_existing(output)
    searchable = open_searchable(collection, engine)
    found = load_queries(asked, collection, searchable, model, threads)
    opened = searchable.open(found.vocabulary)
    ranking = opened.search(found.impacts, hits, thread_count(threads))
    _warn_if_incomplete(collection)
    if output is not None or (not asked.one and not as_json):
        _write_run(output, found.ids, ranking, tag)
    elif not asked.one:
        _print_json(found.ids, ranking)
    else:
        _print_hits(hits_of(opened, found.impacts, 0, ranking, found.vocabulary), found, as_json)
    if not any(ranking.ids):
        known = len(found.impacts.indices) or asked.image or asked.vectors
        typer.echo(f"nothing found: {_NO_HIT if known else _NO_WORD}", err=True)


_NO_HIT = "no document shares a term with the query"
_NO_WORD = "the query holds no word the model knows"


def _write_run(output: Path | None, query_ids: list[str], ranking: Ranking, tag: str) -> None:
    from lexlip_infer.search.trec_run import trec_lines, write_trec_run

    if output is not None:
        write_trec_run(output, query_ids, ranking, tag)
        return
    for line in trec_lines(query_ids, ranking, tag):
        typer.echo(line, nl=False)


def _print_json(query_ids: list[str], ranking: Ranking) -> None:
    for query_id, ids, scores in zip(query_ids, ranking.ids, ranking.scores, strict=True):
        for rank, (name, score) in enumerate(zip(ids, scores.tolist(), strict=True), start=1):
            row = {"query": query_id, "rank": rank, "score": round(score), "id": name}
            typer.echo(json.dumps(row, ensure_ascii=False))


def _print_hits(results: list[Hit], queries: Queries, as_json: bool) -> None:
    if as_json:
        for hit in results:
            typer.echo(json.dumps(asdict(hit), ensure_ascii=False))
    elif results and sys.stdout.isatty():
        _print(results, queries)
    else:
        for hit in results:
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


def _print(results: list[Hit], queries: Queries) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    assert queries.encoder is not None
    assert queries.weights is not None
    words = "  ".join(f"{term} {weight:.2f}" for term, weight in queries.encoder.decode(queries.weights, 8)[0])
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
