"""What is done to a folder: one change, drawn from a seed; to contents (`contents.py`), or to what lies where.

PLACE/given/      the copy that is damaged, and that a command is run on
PLACE/outside/    what no command may touch; links lead here
PLACE/here/       the current directory of the command
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from trials.contents import damaged
from trials.sealing import MOST, has_checksum, seal

#: What is not in the folders as they are made, but would be used if it were there.
_FURTHER = {
    "output": [
        ".tmp",
        ".tmp/manifest.json",
        ".tmp/part-00000.jsonl",
        ".tmp/part-00002.jsonl",
        "truncated.jsonl",
        "vectors/part-00009.jsonl",
    ],
    "index": [
        ".index.json.partial",
        "segments/000003",
        "segments/000006",
        "segments/999999",
        "segments/000001/deleted-000006.npy",
        "segments/x",
        "vocabulary.json.partial",
    ],
    "bundle": [".lexlip.json.partial", "onnx/image_backbone_fp16.onnx", "onnx/weights.bin", "openvino"],
    "checkpoint": [
        "pytorch_model.bin",
        "modules.json",
        "vocab.txt",
        "checkpoints/step-00000003",
        "curves.png",
        "last.pt",
        "stem",
        ".last.tmp",
        "tokenizer_config.json",
    ],
}


@dataclass(frozen=True)
class Scene:
    """A copy to damage.

    Attributes:
        kind: of folder.
        place: which holds it, and what lies around.
    """

    kind: str
    place: Path

    @property
    def given(self) -> Path:
        """The copy."""
        return self.place / "given"

    @property
    def outside(self) -> Path:
        """What no command may touch."""
        return self.place / "outside"

    def files(self) -> list[Path]:
        """Of the copy; links are none, nor is what was made gigantic."""
        paths = (path for path in self.given.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(path for path in paths if path.stat().st_size <= MOST)

    def entries(self) -> list[Path]:
        """Whatever lies in the copy, and places where something of ours might."""
        further = [self.given / name for name in _FURTHER[self.kind]]
        return sorted({*self.given.rglob("*"), *further})


@dataclass(frozen=True)
class Change:
    """What was done.

    Attributes:
        text: for a person.
        known: whether a reader can know of it: from a checksum, or because what is missing or of another kind cannot be
            read. Not where the checksums agree with the damage, and in files that nothing has a checksum of.
    """

    text: str
    known: bool


def damage(rng: Random, scene: Scene) -> Change:
    """Change one thing, sometimes two."""
    first = rng.choice(_WAYS)(rng, scene)
    if rng.random() < 0.85:
        return first
    second = rng.choice(_WAYS)(rng, scene)
    return Change(f"{first.text}; {second.text}", first.known and second.known)


def _contents(rng: Random, scene: Scene) -> Change:
    files = scene.files()
    if not files:
        return Change("nothing", known=True)
    # Manifests decide about all else.
    path = rng.choice([*files, *(file for file in files if file.parent == scene.given)])
    data, what = damaged(rng, path.name, path.read_bytes())
    path.write_bytes(data)
    return _sealed(rng, scene, f"{_name(scene, path)}: {what}", [path])


def _sealed(rng: Random, scene: Scene, text: str, changed: list[Path]) -> Change:
    """After a change of contents: the checksums are made to agree, more often than not."""
    if rng.random() < 0.65 and seal(scene.kind, scene.given):
        return Change(f"{text}, sealed", known=False)
    return Change(text, known=all(has_checksum(scene.kind, path.name) for path in changed))


def _link(rng: Random, scene: Scene) -> Change:
    path = rng.choice(scene.entries())
    kept = scene.outside / f"moved-{path.name.strip('.')}"
    how = rng.choice(["moved", "moved", "file", "folder", "dangling", "loop", "above", "device"])
    if how == "moved":  # what a user does who has another disk; what is there is right
        if os.path.lexists(path):
            shutil.move(path, kept)
        else:
            kept.mkdir()
        target = kept
    else:
        _remove(path)
        target = {
            "file": scene.outside / "keep.txt",
            "folder": scene.outside / "kept",
            "dangling": scene.outside / "absent",
            "loop": path,
            "above": scene.place,
            "device": Path("/dev/zero"),
        }[how]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent) if rng.random() < 0.5 else target)
    return Change(f"{_name(scene, path)}: a link ({how})", known=True)


def _special(rng: Random, scene: Scene) -> Change:
    path = rng.choice(scene.entries())
    _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    how = rng.choice(["fifo", "fifo", "socket", "zero", "null", "full"])
    if how == "fifo":
        os.mkfifo(path)
    elif how == "socket":
        with socket.socket(socket.AF_UNIX) as end:
            here = Path.cwd()
            os.chdir(path.parent)  # the path of a socket is short
            end.bind(path.name)
            os.chdir(here)
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, {"zero": 5, "null": 3, "full": 7}[how]))
        except OSError:  # takes the superuser
            path.symlink_to(f"/dev/{how}")
    return Change(f"{_name(scene, path)}: {how}", known=True)


def _gigantic(rng: Random, scene: Scene) -> Change:
    files = scene.files()
    path = rng.choice(files or scene.entries())
    size = rng.choice([1 << 31, 3 << 30, 1 << 40])
    if rng.random() < 0.5:
        _remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.truncate(size)
    return _sealed(rng, scene, f"{_name(scene, path)}: {size >> 30} GiB of nothing", [path])


def _gone(rng: Random, scene: Scene) -> Change:
    path = rng.choice(sorted(scene.given.rglob("*")) or [scene.given])
    if rng.random() < 0.3 and path.is_file():
        path.write_bytes(b"")
        return Change(f"{_name(scene, path)}: empty", known=has_checksum(scene.kind, path.name))
    _remove(path)
    return Change(f"{_name(scene, path)}: missing", known=True)


def _exchanged(rng: Random, scene: Scene) -> Change:
    files = scene.files()
    if len(files) < 2:
        return _gone(rng, scene)
    first, second = rng.sample(files, 2)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    if rng.random() < 0.5:
        second.write_bytes(one)
    return _sealed(rng, scene, f"{_name(scene, first)} and {_name(scene, second)}: exchanged", [first, second])


def _foreign(rng: Random, scene: Scene) -> Change:
    folders = [
        scene.given,
        *(path for path in sorted(scene.given.rglob("*")) if path.is_dir() and not path.is_symlink()),
    ]
    known = rng.choice(
        [
            *(path.name for path in scene.entries()),
            "x",
            ".hidden",
            "part-99999.jsonl",
            "deleted-000009.npy",
            "-rf",
            "a b\n",
        ]
    )
    path = rng.choice(folders) / known
    if os.path.lexists(path):
        path = path.with_name(f"{path.name}.orig")
    if rng.random() < 0.3:
        (path / "deep" / "deeper").mkdir(parents=True)
    else:
        path.write_bytes(
            rng.choice([b"", b"x" * 100, b'{"id":"x","contents":"","vector":{"dog":1}}\n', rng.randbytes(200)])
        )
    return Change(f"{_name(scene, path)!r}: foreign", known=True)


def _permissions(rng: Random, scene: Scene) -> Change:
    path, mode = rng.choice(sorted(scene.given.rglob("*")) or [scene.given]), rng.choice([0o000, 0o200, 0o400, 0o500])
    if path.is_symlink() or not path.exists():
        return Change("nothing", known=True)
    path.chmod(mode)
    return Change(f"{_name(scene, path)}: mode {mode:o}", known=True)


_WAYS: list[Callable[[Random, Scene], Change]] = [
    *(12 * [_contents]),
    *(4 * [_link]),
    *(2 * [_special]),
    _gigantic,
    _gone,
    _exchanged,
    _foreign,
    _permissions,
]


def _name(scene: Scene, path: Path) -> str:
    return str(path.relative_to(scene.place))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
