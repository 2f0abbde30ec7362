"""One trial: a copy, a change drawn from a seed, a command, and what must hold afterwards.

`Trials` keeps what trials of a kind have in common. A trial is the same for the same kind, seed and number.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from trials.child import End, prepare, run_child
from trials.commands import COMMANDS, Command
from trials.damage import Change, Scene, damage
from trials.folders import variants

LIMIT_SECONDS = 30.0
LIMIT_BYTES = 1 << 30

Tree = dict[str, tuple[object, ...]]


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        kind: of folder.
        number: of the trial.
        folder: which of the kind.
        change: what was done to it.
        command: what was run on it.
        status: how that ended.
        seconds: how long it took.
        peak: its memory in bytes.
        faults: what must not be; empty where all is well.
        said: the last line on stderr.
    """

    kind: str
    number: int
    folder: str
    change: str
    command: str
    status: int
    seconds: float
    peak: int
    faults: tuple[str, ...]
    said: str

    def row(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)


class Trials:
    """Trials of a kind in one process, which imports what their children need and does nothing else.

    Args:
        root: what `folders.make` has filled.
        kind: of folder.
        work: folder of this process for copies.
    """

    def __init__(self, root: Path, kind: str, work: Path) -> None:
        prepare(kind)
        self._root, self._kind, self._work = root, kind, work
        self._right: dict[tuple[str, Command], str | None] = {}

    def run(self, seed: int, number: int, keep: Path | None = None) -> Outcome:
        """Make, damage, run and examine; `keep` is where the damaged folder of a trial that failed is made again."""
        valid, command, change = self._prepared(seed, number, self._work / "trial")
        faults, end = self._examined(valid, command, self._work / "trial", change)
        if faults and keep is not None:
            self._prepared(seed, number, keep)
        return Outcome(
            self._kind,
            number,
            valid.name,
            change.text,
            "; ".join(command.steps),
            end.status,
            round(end.seconds, 3),
            end.peak,
            tuple(faults),
            (end.lines or [""])[-1][:300],
        )

    def _prepared(self, seed: int, number: int, place: Path) -> tuple[Path, Command, Change]:
        rng = Random(f"{self._kind}/{seed}/{number}")
        valid = rng.choice(variants(self._root, self._kind))
        command = rng.choice(COMMANDS[valid.name])
        _lay_out(valid, place)
        return valid, command, damage(rng, Scene(self._kind, place))

    def _examined(self, valid: Path, command: Command, place: Path, change: Change) -> tuple[list[str], End]:
        right = self._results_of_undamaged(valid, command) if command.verified and change.known else None
        before, given = _tree(place, "outside", "here"), _tree(place, "given")
        inputs = _tree(self._root, "inputs", "valid")
        end = self._run(command, place)
        faults = _faults(end)
        if _tree(place, "outside", "here") != before:
            faults.append(f"changed outside: {_difference(before, _tree(place, 'outside', 'here'))}")
        if _tree(self._root, "inputs", "valid") != inputs:
            faults.append(f"inputs changed: {_difference(inputs, _tree(self._root, 'inputs', 'valid'))}")
        if not command.writes and _tree(place, "given") != given:
            faults.append(f"a command that only reads changed {_difference(given, _tree(place, 'given'))}")
        if right is not None and end.status in (0, 3) and _results(command, place, end) != right:
            faults.append("other results than those of the undamaged folder")
        return faults, end

    def _run(self, command: Command, place: Path) -> End:
        names = {"given": "../given", "new": "../new", "inputs": str(self._root / "inputs")}
        return run_child([step.format(**names).split() for step in command.steps], place, LIMIT_SECONDS)

    def _results_of_undamaged(self, valid: Path, command: Command) -> str | None:
        """Nothing where the command refuses this folder even so."""
        key = (valid.name, command)
        if key not in self._right:
            place = self._work / "undamaged"
            _lay_out(valid, place)
            end = self._run(command, place)
            if faults := _faults(end):
                raise RuntimeError(f"{valid.name}, undamaged: {command.steps}: {faults}\n{end.stderr}")
            self._right[key] = _results(command, place, end) if end.status in (0, 3) else None
        return self._right[key]


#: Beside the folder: what nobody may touch, some of it under names that our folders have.
_PRECIOUS = (
    "outside/keep.txt",
    "outside/kept/photo.jpg",
    "outside/kept/manifest.json",
    "outside/kept/segments/000001/id_text.npy",
    "outside/kept/vectors/part-00000.jsonl",
    "here/keep.txt",
    "here/weights.bin",
)


def _lay_out(valid: Path, place: Path) -> None:
    """A copy, and what lies around it."""
    if place.exists():
        for path in (path for path in place.rglob("*") if path.is_dir() and not path.is_symlink()):
            path.chmod(0o700)
        shutil.rmtree(place)
    shutil.copytree(valid, place / "given", symlinks=True)
    (place / "new").mkdir()
    for name in _PRECIOUS:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("precious\n")
    (place / "outside/link").symlink_to("keep.txt")


def _faults(end: End) -> list[str]:
    """What no command may do, whatever it is given."""
    faults, lines = [], end.lines
    if end.timed_out:
        faults.append(f"not done after {end.seconds:.1f} s")
    elif end.status < 0:
        faults.append(f"ended by signal {-end.status}")
    elif end.status not in (0, 2, 3) or "Traceback" in end.stderr:
        faults.append(
            f"status {end.status}{', a traceback' if 'Traceback' in end.stderr else ''}: {(lines or [''])[-1][:200]}"
        )
    elif end.status == 2 and len(_errors(lines)) != 1:
        faults.append(f"{len(lines)} lines for an error: {' | '.join(lines)[:300]}")
    if end.peak > LIMIT_BYTES:
        faults.append(f"{end.peak >> 20} MiB of memory")
    return faults


#: What commands say of themselves on the way, besides errors.
_NOTES = re.compile(
    r"[\d,]+ documents? (added|deleted|\(.* MB: .*)$|\d+ of \d+ texts are longer than .*|.* is incomplete: .*"
    r"|.* unknown to .* can match nothing$|nothing found: .*"
)


def _errors(lines: list[str]) -> list[str]:
    return [line for line in lines if not _NOTES.match(line)]


def _results(command: Command, place: Path, end: End) -> str:
    """A digest of what the command gave: what it printed, and what it wrote but for records of the run."""
    digest = hashlib.sha256(f"{end.status}\n{end.stdout}".encode())
    patterns = [("new", "**/*"), *(("given", pattern) for pattern in command.results)]
    for folder, pattern in patterns:
        for path in sorted((place / folder).glob(pattern)):
            if path.is_file() and path.name not in ("manifest.json", "index.json", "lexlip.json", "README.md"):
                digest.update(f"{path.relative_to(place)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _tree(root: Path, *names: str) -> Tree:
    """What lies there: kinds, modes, sizes, times, targets of links, contents of small files."""
    found: Tree = {}
    for path in (path for name in names for path in (root / name, *(root / name).rglob("*"))):
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        more: object = None
        if stat.S_ISLNK(state.st_mode):
            more = os.readlink(path)  # noqa: PTH115  (as it is written)
        elif stat.S_ISREG(state.st_mode) and state.st_size < 4096 and state.st_mode & 0o400:
            more = path.read_bytes()
        found[str(path.relative_to(root))] = (state.st_mode, state.st_size, state.st_mtime_ns, more)
    return found


def _difference(before: Tree, after: Tree) -> str:
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return ", ".join(names[:5])
