"""The one reader of stored documents: an output of lexlip-encode, or anyone's folder of Anserini's JSON lines.

Whatever searches, converts, inspects or indexes a collection reads it here: each part file of an output is compared
with its hash before a line is believed, and lines go through the compiled parser, in several threads where asked for.
Memory holds a part file for each thread, or a few chunks of lines. Nothing is repaired, and nothing written.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lexlip_infer.bundle import Bundle
from lexlip_infer.collection.manifest import MANIFEST, VECTORS, PartRecord, RunManifest, is_output, manifest_in
from lexlip_infer.errors import InputError, OutputError
from lexlip_infer.files import Folder, hash_opened, open_regular
from lexlip_infer.files.reading import Refusal, bounded_blocks, in_bytes
from lexlip_infer.impacts import JsonLinesParser, collect_terms
from lexlip_infer.impacts.lint.files import LONGEST_LINE, collection_files, expanded
from lexlip_infer.impacts.lint.findings import Findings
from lexlip_infer.inputs.read_ahead import map_ahead
from lexlip_infer.vocabulary import Vocabulary
from lexlip_kernels import ImpactMatrix

#: Documents of a chunk. Lines of a part that are parsed together, and bytes of any that are.
_CHUNK, _TOGETHER, _BLOCK = 2_000, 100_000, 2**23

#: Bytes of a part file without a document: what gzip writes of nothing.
_LEAST = 64

#: Document ids and their rows.
Chunk = tuple[list[str], ImpactMatrix]


@dataclass(frozen=True, slots=True, repr=False)
class Collection:
    """Documents on a disk, over one vocabulary. Build it with `open`.

        collection = Collection.open("out/")
        for ids, impacts in collection.chunks():      # up to 2,000 documents at a time
            print(ids[0], impacts.row(0))

    Attributes:
        path: folder, or file of JSON lines.
        vocabulary: V terms.
        manifest: of the run that encoded it; absent for JSON lines that others wrote.
    """

    path: Path
    vocabulary: Vocabulary
    manifest: RunManifest | None = None
    _files: list[Path] = field(default_factory=list, repr=False)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        model: str | None = None,
        vocabulary: Vocabulary | None = None,
        unfinished: bool = False,
    ) -> Collection:
        """Look at a collection; no document is read yet, unless to collect the terms.

        Args:
            path: an output folder of lexlip-encode, any folder of Anserini's JSON lines, or a file of them; plain or
                gzip.
            model: bundle folder or hub id whose vocabulary it is over; of an output, where the model has moved.
            vocabulary: instead of a model's. Without either, an output says its model, and other JSON lines are read
                once to collect their terms in order of their first occurrence.
            unfinished: take what an interrupted run has finished so far, instead of refusing it.

        Raises:
            BundleError: the model is not there, or has no vocabulary.
            InputError: the run that writes it has not finished; the model is another one than encoded it; there is
                nothing, or a file that Anserini would misread.
            OutputError: a part file is missing, changed or added, or the manifest is damaged.
        """
        path = Path(path)
        if is_output(path):
            return cls.open_output(path, model=model, vocabulary=vocabulary, unfinished=unfinished)
        if model is not None and vocabulary is None:
            vocabulary = Bundle.open(model).vocabulary()
        files = _files(path)
        return cls(path, _collect_vocabulary(files) if vocabulary is None else vocabulary, None, files)

    @classmethod
    def open_output(
        cls,
        folder: Path,
        *,
        model: str | None = None,
        vocabulary: Vocabulary | None = None,
        unfinished: bool = False,
    ) -> Collection:
        """As `open`, for what has to be an output of lexlip-encode; a folder without a manifest is an OutputError."""
        manifest = read_finished(folder, unfinished)
        if vocabulary is None:
            vocabulary = manifest.settings.encoded_with.open_bundle(folder, model).vocabulary()
        return cls(folder, vocabulary, manifest)

    def __repr__(self) -> str:
        held = f"{len(self._files)} files" if self.manifest is None else repr(self.manifest)
        return f"Collection({held} in {self.path}, {len(self.vocabulary)} terms)"

    def __fspath__(self) -> str:
        """The path, so that a collection goes wherever its path does."""
        return str(self.path)

    @property
    def documents(self) -> int | None:
        """How many there are, where that is known without reading them."""
        return None if self.manifest is None else self.manifest.documents

    @property
    def scale(self) -> float | None:
        """Of the quantiser, where it is known: impact = round(scale * weight)."""
        return None if self.manifest is None else self.manifest.settings.scale

    def parts(self, threads: int = 1) -> Iterator[Chunk]:
        """All documents: a part file of an output at a time, or up to 2,000 lines of others.

        Args:
            threads: that read and parse.

        Raises:
            OutputError: a part file has changed since it was written.
            InputError: a file cannot be read, a line is malformed, or holds a term that the vocabulary does not have;
                the message names file and line.
        """
        parser = JsonLinesParser(self.vocabulary)

        def parsed(part: PartRecord | Lines) -> Chunk:
            if isinstance(part, Lines):
                return parser.parse(part.data, part.source, part.first)
            return self._parsed(part, parser)

        found: Iterable[PartRecord | Lines] = _chunked(self._files) if self.manifest is None else self.manifest.shards
        return map_ahead(parsed, found, threads, threads + 1 if threads > 1 else 1, "read")

    def chunks(self) -> Iterator[Chunk]:
        """All documents, at most 2,000 at a time; errors as of `parts`."""
        for ids, impacts in self.parts():
            for first in range(0, len(ids), _CHUNK):
                yield ids[first : first + _CHUNK], impacts[first : first + _CHUNK]

    def in_id_order(self, threads: int = 1) -> Chunk:
        """All documents in memory, sorted by id: so ties of a search come out by id, ascending, as in Anserini.

        Raises:
            InputError: there are none; else as of `parts`.
            OutputError: as of `parts`.
        """
        parts = list(self.parts(threads))
        ids = [name for part, _ in parts for name in part]
        if not ids:
            raise InputError(f"{self.path}: no documents to search; {self._why_empty()}")
        order = sorted(range(len(ids)), key=ids.__getitem__)
        return [ids[row] for row in order], ImpactMatrix.concatenate([part for _, part in parts])[np.array(order)]

    def _parsed(self, part: PartRecord, parser: JsonLinesParser) -> Chunk:
        """All documents of a part, which are as many as the manifest counts."""
        ids: list[str] = []
        found: list[ImpactMatrix] = []
        for lines in read_part(self.path, part):
            more, impacts = parser.parse(lines.data, lines.source, lines.first)
            ids += more
            found.append(impacts)
            if len(ids) > part.documents:
                break
        matrix = found[0] if len(found) == 1 else ImpactMatrix.concatenate(found, len(self.vocabulary))
        counts = {"documents": (len(ids), part.documents), "impacts": (len(matrix.impacts), part.impacts)}
        for what, (here, counted) in counts.items():
            if here != counted:
                raise OutputError(
                    f"{self.path / VECTORS / part.name}: {here:,} {what} were read, where {MANIFEST} counts "
                    f"{counted:,}; remove {self.path} and encode again"
                )
        return ids, matrix

    def _why_empty(self) -> str:
        if self.manifest is None:
            return "its files are empty"
        if not self.manifest.complete:
            return "the run was interrupted early; the same lexlip-encode command continues it"
        return "every input failed, see failures.jsonl"


def read_finished(folder: Path, unfinished: bool = False) -> RunManifest:
    """The manifest of a run that has ended, after comparing names and sizes of its part files.

    Args:
        folder: of the output.
        unfinished: take a run that has not ended, too.

    Raises:
        InputError: the run was interrupted.
        OutputError: as `read_manifest` and `check_parts`.
    """
    try:
        with Folder.open(folder) as held:
            manifest = manifest_in(held)
            check_parts(held, manifest)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{folder}: not the output of lexlip-encode ({error.strerror})") from None
    if not (manifest.complete or unfinished):
        raise InputError(f"{folder}: the run was interrupted; the same lexlip-encode command finishes it")
    return manifest


def check_parts(folder: Folder, manifest: RunManifest) -> None:
    """Compare the names and sizes of the part files with the manifest.

    Raises:
        OutputError: somebody has edited, removed or added one since the run; a link stands in the place of one.
    """
    known = {part.name for part in manifest.shards}
    if not manifest.complete:
        known.add(manifest.next_part_name)  # a kill may have come between the file and its entry
    if folder.status(VECTORS) is None and not manifest.shards:
        return
    with folder.folder(VECTORS) as vectors:
        for part in manifest.shards:
            status = vectors.file_status(part.name)
            if status is None or status.st_size != part.size:
                raise _changed(folder.path, part)
            if part.size > _LEAST + part.documents * LONGEST_LINE:  # nor are hours spent on its hash
                raise OutputError(
                    f"{vectors.path / part.name}: {in_bytes(part.size)} for {part.documents:,} documents; a line has "
                    f"at most {in_bytes(LONGEST_LINE)}: remove {folder.path} and encode again"
                )
        if not manifest.complete:
            vectors.file_status(manifest.next_part_name)  # which is going to be written over
        foreign = sorted(set(vectors.names()) - known)
    if foreign:
        raise OutputError(
            f"{vectors.path / foreign[0]}: not written by this run, and Anserini would index it; move it elsewhere"
        )


def check_contents(folder: Folder, manifest: RunManifest) -> None:
    """Compare the hashes of the part files with the manifest: a run that goes on vouches for what it finds.

    Raises:
        OutputError: one has changed since it was written.
    """
    for part in manifest.shards:
        name = f"{VECTORS}/{part.name}"

        def refuse(reason: str, path: Path = folder.path / name) -> OutputError:
            return OutputError(f"{path}: {reason}")

        with open_regular(name, refuse=refuse, folder=folder) as file:
            if hash_opened(file) != part.sha256:
                raise _changed(folder.path, part)


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of a file.

    Attributes:
        data: their bytes.
        source: what messages call the file.
        first: number of the first of them.
    """

    data: bytes
    source: str
    first: int


def read_part(folder: Path, part: PartRecord) -> Iterator[Lines]:
    """The lines of a part file, after comparing its hash, some megabytes at a time.

    Raises:
        OutputError: it has changed since it was written, cannot be read, or goes beyond a limit.
    """
    name = f"{VECTORS}/{part.name}"
    path = folder / name

    def refuse(reason: str) -> OutputError:
        return OutputError(f"{path}: {reason}")

    try:
        with Folder.open(folder) as held, open_regular(name, refuse=refuse, folder=held) as file:
            if hash_opened(file) != part.sha256:
                raise _changed(folder, part)
            yield from _blocks(file, path, refuse, _TOGETHER)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None


def _changed(folder: Path, part: PartRecord) -> OutputError:
    path = folder / VECTORS / part.name
    return OutputError(f"{path}: missing or changed since it was written; remove {folder} and encode again")


def _collect_vocabulary(files: list[Path]) -> Vocabulary:
    """Every term, in order of its first occurrence; memory holds these alone."""
    terms: dict[str, None] = {}
    for lines in _chunked(files):
        terms.update(dict.fromkeys(collect_terms(io.BytesIO(lines.data), lines.source, lines.first)))
    return Vocabulary(tuple(terms))


def _files(path: Path) -> list[Path]:
    findings = Findings()
    files = list(collection_files(path, findings))
    for finding in findings.report():
        raise InputError(f"{finding.places[0]}: {finding.consequence}")
    if not files:
        raise InputError(f"{path}: holds no file of JSON lines (.jsonl, .json, .jsonl.gz, .json.gz)")
    return files


def _chunked(files: list[Path]) -> Iterator[Lines]:
    for path in files:

        def refuse(reason: str, path: Path = path) -> InputError:
            return InputError(f"{path}: {reason}")

        try:
            with open_regular(path, refuse=refuse) as file:
                yield from _blocks(file, path, refuse, _CHUNK)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _blocks(file: BinaryIO, path: Path, refuse: Refusal, most: int) -> Iterator[Lines]:
    """Lines together, as many as fit a block, and no more than `most`."""
    lines = expanded(file, path, refuse=refuse)
    for first, data in bounded_blocks(lines, LONGEST_LINE, _BLOCK, most, refuse=refuse):
        yield Lines(data, str(path), first)
