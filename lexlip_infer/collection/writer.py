"""The folder a run writes to, so arranged that a kill at any instant loses one unfinished part and nothing else.

    OUT/vectors/part-00000.jsonl   finished parts, and nothing else: Anserini parses every file it finds there
    OUT/failures.jsonl             inputs that could not be encoded
    OUT/truncated.jsonl            images that break off and were accepted; absent if there are none
    OUT/manifest.json              the journal; see `manifest.py`
    OUT/.tmp/                      what is being written

Order of a commit: the part is written, synced and renamed; then its failures are appended; then the manifest is
replaced. A part without its manifest entry is written again, and so are its failures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from lexlip_infer.collection.collection import check_contents, check_parts
from lexlip_infer.collection.manifest import (
    FAILURES,
    MANIFEST,
    MOST_PARTS,
    TRUNCATED,
    VECTORS,
    PartRecord,
    RunManifest,
    RunSettings,
    RunTimings,
    differences,
    manifest_in,
)
from lexlip_infer.collection.part_file import Failure, Lines, PartFile, append_failures, check_ledger
from lexlip_infer.collection.parts import PartEnd
from lexlip_infer.errors import OutputError
from lexlip_infer.files import Folder, replacing, writing

#: What is being written; see above.
_TEMPORARY = ".tmp"


class OutputFolder:
    """An output folder opened for one run: new, or continued where it stopped. Build it with `open`."""

    @classmethod
    @contextlib.contextmanager
    def open(cls, folder: Path, settings: RunSettings) -> Iterator[OutputFolder]:
        """Open a folder and keep other runs out of it while the block runs.

        Args:
            folder: created if missing.
            settings: of this run.

        Raises:
            OutputError: the folder holds something else, another run's output, is being written by another run, or
                cannot be written.
        """
        with writing(folder):
            if folder.exists() and not folder.is_dir():
                raise _foreign(folder)
            with contextlib.ExitStack() as held:
                place = held.enter_context(Folder.open(folder, create=True))
                place.lock(f"another lexlip-encode is writing into {folder}")
                output = cls(place, settings, held)
                try:
                    yield output
                finally:
                    output._close()

    def __init__(self, folder: Folder, settings: RunSettings, held: contextlib.ExitStack) -> None:
        self._folder = folder
        self._settings = settings
        self._part: PartFile | None = None
        if folder.status(MANIFEST) is not None:
            self.manifest = manifest_in(folder)
            if changes := _changes(self.manifest.settings, settings):
                raise _other_run(folder.path, changes)
            check_parts(folder, self.manifest)
            check_contents(folder, self.manifest)
            for name, size in self._ledgers().items():
                check_ledger(folder, name, size, exact=self.manifest.complete)
        else:
            if not _is_new(folder):
                raise _foreign(folder.path)
            self.manifest = RunManifest(version=version("lexlip-infer"), settings=settings)
        if self.manifest.complete:
            folder.remove_folder(_TEMPORARY)  # a kill may have come just before its removal
            return
        self._temporary = held.enter_context(folder.folder(_TEMPORARY, create=True))
        self._update(self.manifest)
        self._vectors = held.enter_context(folder.folder(VECTORS, create=True))

    def add(self, lines: Lines) -> None:
        """Write to the part that is not finished, the next one if there is none."""
        if self._part is None:
            if len(self.manifest.shards) == MOST_PARTS:
                raise OutputError(
                    f"{self._folder.path}: holds {MOST_PARTS:,} part files, the most; encode into a new folder with a "
                    "larger --items-per-shard"
                )
            self._part = PartFile(self.manifest.next_part_name, self._temporary, self.manifest.settings.compress)
        self._part.add(lines)

    def end_part(self, end: PartEnd, timings: RunTimings) -> PartRecord:
        """Commit the part."""
        assert self._part is not None, "a part has at least one item"
        part = self._part
        part.commit(self._vectors)
        self._part = None
        record = part.record(end, self._append(FAILURES, part.failures), self._append(TRUNCATED, part.truncated))
        changes = {"shards": (*self.manifest.shards, record), "timings": timings}
        self._update(self.manifest.model_copy(update=changes))
        return record

    def complete(self) -> None:
        """Mark the run as finished and remove the temporary folder."""
        self._append(FAILURES, [])  # a run without any part has no file yet
        self._update(self.manifest.model_copy(update={"complete": True}))
        self._folder.remove_folder(_TEMPORARY)

    def changed(self, where: str) -> OutputError:
        """The error for a collection that is not the one this folder was begun with."""
        before, now = self.manifest.settings, self._settings
        what = "images (names or sizes)" if now.modality == "image" else "texts"
        change = f"the {what} changed since it began, {where}"
        if before.source != now.source:
            change = f"source was {before.source}, now {now.source}"
        return _other_run(self._folder.path, change)

    def _close(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None

    def _ledgers(self) -> dict[str, int]:
        """Bytes that belong to finished parts."""
        parts = self.manifest.shards
        failures, truncated = sum(s.failures_size for s in parts), sum(s.truncated_size for s in parts)
        return {FAILURES: failures, TRUNCATED: truncated}

    def _append(self, ledger: str, failures: list[Failure]) -> int:
        if ledger == TRUNCATED and not failures and self._folder.status(ledger) is None:
            return 0
        return append_failures(self._folder, ledger, self._ledgers()[ledger], failures)

    def _update(self, manifest: RunManifest) -> None:
        with replacing(MANIFEST, self._folder, partial=MANIFEST, beside=self._temporary) as file:
            file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
        self.manifest = manifest


def _is_new(folder: Folder) -> bool:
    """Empty, or what a run leaves that was killed before its manifest was in place."""
    if folder.names() not in ([], [_TEMPORARY]):
        return False
    if folder.status(_TEMPORARY) is None:
        return True
    with folder.folder(_TEMPORARY) as temporary:
        temporary.status(MANIFEST)  # which a link must not be
        return temporary.names() in ([], [MANIFEST])


def _foreign(folder: Path) -> OutputError:
    return OutputError(f"{folder}: exists and is not an output of lexlip-encode; name a new folder")


def _other_run(folder: Path, changes: str) -> OutputError:
    return OutputError(f"{folder}: holds the output of another run ({changes}); name a new folder")


#: Settings that need not be equal: what has moved may be the same, as fingerprint and digests tell.
_NOT_COMPARED = {"model", "source"}


def _changes(before: RunSettings, now: RunSettings) -> str:
    return differences(before.model_dump(exclude=_NOT_COMPARED), now.model_dump(exclude=_NOT_COMPARED))
