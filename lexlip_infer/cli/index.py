"""`lexlip index`: what `lexlip-encode` wrote, made searchable without reading it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lexlip_infer.cli.options import ModelOfOutput, Threads
from lexlip_infer.cli.shell import counted
from lexlip_infer.errors import InputError


def index(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[OUT] IDX", help="folder that lexlip-encode wrote, or anyone's JSON lines; and the index"
        ),
    ],
    engine: Annotated[
        str,
        typer.Option(metavar="NAME", help="exact, anserini, bm25 (of texts; extra anserini) or faiss (of an .npy)"),
    ] = "exact",
    add: Annotated[bool, typer.Option("--append", help="add the documents of OUT to IDX")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="with --append: in place of those with the same id")
    ] = False,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", metavar="ID", help="delete this document from IDX; repeatable")
    ] = None,
    delete_from: Annotated[
        Path | None, typer.Option(metavar="FILE", help="delete the documents whose ids this file lists, one a line")
    ] = None,
    merge: Annotated[bool, typer.Option("--compact", help="merge IDX into one segment, deleted ones left out")] = False,
    check: Annotated[
        bool, typer.Option("--verify", help="compare IDX with its hashes, and check all ids and postings")
    ] = False,
    model: ModelOfOutput = None,
    ids: Annotated[Path | None, typer.Option(metavar="FILE", help="of dense vectors, one a line (faiss)")] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="NAME", help="flat, hnsw or ivfpq (faiss)  [default: flat]")
    ] = None,
    threads: Threads = None,
) -> None:
    """Build IDX from the documents of OUT, or change or check an IDX that exists.

    Every change happens as a whole or not at all, and does not disturb a search that is under way. docs/search.md
    describes the index.
    """
    deletes = delete is not None or delete_from is not None
    if sum((add, deletes, merge, check)) > 1:
        raise InputError("give one of --append, --delete/--delete-from, --compact and --verify at a time")
    if replace and not add:
        raise InputError("--replace goes with --append")
    from lexlip_infer.runtime.machine import thread_count
    from lexlip_infer.search.registry import BuildOptions, build_index, check_changes

    if add or deletes or merge or check:
        check_changes(paths[-1], engine)
    if deletes or merge or check:
        _change(_only(paths), [*(delete or ()), *_listed(delete_from)] if deletes else None, merge)
        return
    source, destination = _both(paths)
    if add:
        from lexlip_infer.search.exact.building import append

        count = append(source, destination, thread_count(threads), replace, model)
        typer.echo(f"{counted(count, 'document')} added", err=True)
    else:
        count = build_index(source, destination, engine, BuildOptions(model, ids, kind), thread_count(threads))
    _report(destination, engine, count)


def _only(paths: list[Path]) -> Path:
    if len(paths) != 1:
        raise InputError(f"{counted(len(paths), 'path')} given; expected the index alone")
    return paths[0]


def _both(paths: list[Path]) -> tuple[Path, Path]:
    if len(paths) != 2:
        raise InputError(
            f"{counted(len(paths), 'path')} given; expected what lexlip-encode wrote, and the index: OUT IDX"
        )
    return paths[0], paths[1]


def _listed(file: Path | None) -> list[str]:
    from lexlip_infer.inputs.lines import read_lines

    return [] if file is None else [line for _, line in read_lines(file)]


def _change(destination: Path, ids: list[str] | None, merge: bool) -> None:
    from lexlip_infer.search.exact.building import compact, delete, verify

    if ids is not None:
        typer.echo(f"{counted(delete(destination, ids), 'document')} deleted", err=True)
    elif merge:
        compact(destination)
    else:
        verify(destination)
        typer.echo(f"{destination}: every file is as it was written", err=True)
    _report(destination)


def _report(destination: Path, engine: str = "exact", documents: int = 0) -> None:
    if engine != "exact":
        from lexlip_infer.search.description import describe_index

        written_by = describe_index(destination).written_by
        typer.echo(f"{counted(documents, 'document')}, by {written_by}: {destination}", err=True)
        return
    from lexlip_infer.search.exact.manifest import opened, read_index_manifest

    with opened(destination) as folder:
        manifest = read_index_manifest(folder)
    postings = sum(segment.postings for segment in manifest.segments)
    typer.echo(
        f"{counted(manifest.documents, 'document')} ({manifest.deleted:,} deleted), {counted(postings, 'posting')} in "
        f"{counted(len(manifest.segments), 'segment')}, {manifest.size / 1e6:,.1f} MB: {destination}",
        err=True,
    )
