"""`lexlip convert`: stored impacts in the form that another engine loads."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lexlip_infer.cli.shell import counted, progress_bar
from lexlip_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lexlip_infer.collection.collection import Chunk, Collection
    from lexlip_infer.formats import Format, FormatSettings
    from lexlip_infer.vocabulary import Vocabulary

#: Spelt out, because reading them from the formats would slow `--help` down; a test compares.
FORMAT_NAMES = (
    "anserini, anserini-topics, npz, parquet, ciff, qdrant, milvus, opensearch, elasticsearch, vespa, pgvector, "
    "seismic, tei, ids"
)

#: Bytes of a file of terms; those of a large multilingual model take 3 MB.
_LARGEST_VOCABULARY = 2**24

#: Options by the setting that they make.
_OPTIONS = {
    "field": "--field",
    "collection": "--collection",
    "replace_dots": "--replace-dots",
    "indexed": "--no-index",
    "tokens": "--tokens",
}


def _list_formats(asked: bool) -> None:
    if not asked:
        return
    from lexlip_infer.formats import FORMATS

    for one in FORMATS.values():
        typer.echo(f"{one.name} ({one.suffix}): {one.purpose}\n    {one.constraints}")
    raise typer.Exit


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="OUT", help="folder that lexlip-encode wrote, or anyone's folder of JSON lines")
    ],
    destination: Annotated[Path, typer.Argument(metavar="FILE", help="file to write; it must not exist")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=f"one of {FORMAT_NAMES}")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bundle whose vocabulary to use  [default: the one of OUT]")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="TXT", help="instead of a bundle: terms by id, one a line, such as vocab.txt")
    ] = None,
    field: Annotated[
        str | None, typer.Option(metavar="NAME", help="of the vector in the engine  [default: lexlip]")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="NAME", help="Vespa's namespace and document type  [default: lexlip]")
    ] = None,
    replace_dots: Annotated[
        str | None, typer.Option(metavar="TEXT", help="what stands for a dot in a term (Elasticsearch)")
    ] = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="the column will not be indexed (pgvector)")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="add the terms themselves (Parquet)")] = False,
    formats: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--formats", callback=_list_formats, is_eager=True, help="list the formats and stop")
    ] = False,
) -> None:
    """Write the documents of OUT into one FILE of another format; docs/formats.md says how each engine loads it.

    FILE appears whole or not at all. A document that the engine would refuse, cut or drop is refused by name.
    """
    from lexlip_infer.formats.convert import convert as write

    output_format = _format(to)
    given: dict[str, object] = {
        "field": field,
        "collection": collection,
        "replace_dots": replace_dots,
        "indexed": False if no_index else None,
        "tokens": tokens or None,
    }
    choices = {name: value for name, value in given.items() if value is not None}
    stored = _open(source, model, vocabulary, output_format)
    settings = _settings(output_format, choices, stored.scale, destination.parent)
    with progress_bar(stored.documents, "documents") as progress:
        chunks = partial(_watched, stored, progress)
        written = write(chunks, stored.vocabulary, destination, output_format, settings)
    contents = f"{counted(written.documents, 'document')}, {counted(written.impacts, 'impact')}"
    typer.echo(f"{contents}, {written.size / 1e6:.1f} MB: {destination}", err=True)


def _watched(stored: Collection, progress: Callable[[int], None]) -> Iterator[Chunk]:
    done = 0
    for ids, impacts in stored.chunks():
        yield ids, impacts
        done += len(ids)
        progress(done)


def _format(name: str) -> Format:
    from lexlip_infer.formats import FORMATS

    if name not in FORMATS:
        raise InputError(f"--to {name}: no such format; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def _settings(output_format: Format, choices: dict[str, object], scale: float | None, scratch: Path) -> FormatSettings:
    from lexlip_infer.formats import FormatSettings

    for name in choices:
        if name not in output_format.options:
            raise InputError(f"{_OPTIONS[name]} means nothing to the format {output_format.name}; leave it out")
    return FormatSettings(scale=scale, scratch=scratch, **choices)  # type: ignore[arg-type]


def _open(source: Path, model: str | None, vocabulary: Path | None, output_format: Format) -> Collection:
    from lexlip_infer.collection.collection import Collection
    from lexlip_infer.collection.manifest import is_output

    if model is not None and vocabulary is not None:
        raise InputError("give either --model or --vocabulary")
    if model is None and vocabulary is None and output_format.uses_term_ids and not is_output(source):
        raise InputError(
            f"{source}: no output of lexlip-encode, and {output_format.name} files hold term ids; "
            "say which with --model MODEL or --vocabulary TXT"
        )
    return Collection.open(source, model=model, vocabulary=None if vocabulary is None else _read_vocabulary(vocabulary))


def _read_vocabulary(path: Path) -> Vocabulary:
    from lexlip_infer.files import read_regular
    from lexlip_infer.vocabulary import Vocabulary

    try:
        data = read_regular(path, _LARGEST_VOCABULARY, refuse=lambda reason: InputError(f"{path}: {reason}"))
        terms = data.decode().removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    vocabulary = Vocabulary(tuple(term.removesuffix("\r") for term in terms))
    if len(vocabulary.ids) < len(terms) or "" in vocabulary.ids:
        raise InputError(f"{path}: a term is empty or stands twice; expected one term a line, different ones")
    return vocabulary
