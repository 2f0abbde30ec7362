"""Damage to bytes, and to JSON: one node of a document gone, doubled, of another type, absurd, or deep.

The values are those that have no place in a size, an offset, a name or a number. Nothing here knows any reader.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

#: Other contents, and a few words about what was done.
Damage = tuple[bytes, str]

_WORDS = [
    b"\xff" * 8,
    b"\0" * 8,
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\xff" * 7 + b"\x7f",
    b"\0" * 7 + b"\x60",
    b"\x01\0\0\0",
]
NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2,
    255,
    65536,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**40,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -(10**30),
    10**400,
    0.5,
    -0.0,
    1e-300,
    1e30,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
]
_NAMES = [
    "",
    ".",
    "..",
    "/",
    "../outside/keep.txt",
    "../../outside/keep.txt",
    "/etc/hostname",
    "a/../../outside/keep.txt",
    "~",
    "x\0y",
    "\ud800",
    "x" * 300,
    "x" * 5000,
    "a\nb",
    "\x1b[31m",
    "%s%n",
    "C:\\x",
    "owner/name",
    "NaN",
    "-1",
    "\u202e",
    "float16",
]
OTHERS: list[Any] = [None, True, False, [], {}, "", "x", 0, [[]], {"a": 1}, [None], ["x", 1], 1.5]
#: Stand in a tree for what `json.dumps` cannot write.
_DEEP, _TWICE = "@deep@", "@twice@"


def bits(rng: Random, data: bytes) -> Damage:
    """One to eight bits turned over, often near the beginning, where headers are."""
    changed, count = bytearray(data), rng.choice([1, 1, 1, 2, 8])
    for _ in range(count if changed else 0):
        changed[rng.randrange(min(len(changed), rng.choice([256, len(changed)])))] ^= 1 << rng.randrange(8)
    return bytes(changed), f"{count} bits turned over"


def words(rng: Random, data: bytes) -> Damage:
    """Up to eight bytes at a multiple of four: a size, an offset, a number."""
    if len(data) < 8:
        return bits(rng, data)
    changed, word = bytearray(data), rng.choice(_WORDS)
    at = rng.randrange(len(data) // 4) * 4
    changed[at : at + len(word)] = word
    return bytes(changed[: len(data)]), f"{word.hex()} at {at}"


def cut(rng: Random, data: bytes) -> Damage:
    """Broken off."""
    length = rng.choice([0, 1, len(data) // 2, max(len(data) - 1, 0), rng.randrange(len(data) + 1)])
    return data[:length], f"cut at {length}"


def added(rng: Random, data: bytes) -> Damage:
    """Something in the middle or at the end, or a piece taken out."""
    at = rng.choice([len(data), rng.randrange(len(data) + 1)])
    piece = rng.choice(
        [b"\0" * 64, b"\n", b"}", b'{"id": "x"}\n', b"\xff\xfe", rng.randbytes(100), b"9" * 500, data[:200]]
    )
    if rng.random() < 0.3:
        return data[:at] + data[at + len(piece) :], f"{len(piece)} bytes taken out at {at}"
    return data[:at] + piece + data[at:], f"{len(piece)} bytes put in at {at}"


def json_tree(rng: Random, data: bytes) -> Damage:
    """One node of a document gone, doubled, of another type, absurd, or deep."""
    try:
        tree = json.loads(data)
    except ValueError:
        return bits(rng, data)
    what = change_node(rng, tree)
    return written(rng, tree), what


def json_lines(rng: Random, data: bytes) -> Damage:
    """The same for a line of many; or a line twice, or gone."""
    lines = data.splitlines()
    if not lines:
        return added(rng, data)
    number = rng.randrange(len(lines))
    how = rng.choice(["node", "node", "node", "twice", "gone"])
    if how == "twice":
        lines.insert(rng.randrange(len(lines) + 1), lines[number])
    elif how == "gone":
        del lines[number]
    else:
        lines[number], how = json_tree(rng, lines[number])
    return b"\n".join(lines) + b"\n", f"line {number}: {how}"


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container and key in it, breadth first."""
    found, todo = [], [tree]
    while todo:
        here = todo.pop(0)
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        found += [(here, key) for key in keys]
        todo += [here[key] for key in keys]
    return found


def change_node(rng: Random, tree: Any) -> str:
    """Change one node of a tree; a few words about how."""
    places = _places(tree)
    if not places:
        return "nothing to change"
    # A vocabulary of hundreds of terms leaves something to the other fields.
    here, key = rng.choice(places[: rng.choice([12, 80, len(places)])])
    before = here[key]
    how = rng.choice(["gone", "twice", "type", "deep", "long", "repeat", "name", "unknown", *(4 * ["value"])])
    if how == "gone":
        del here[key]
    elif how == "twice" and isinstance(here, dict):
        here[_TWICE + str(key)] = rng.choice([before, *OTHERS])
    elif how == "unknown" and isinstance(here, dict):
        here[rng.choice(["unknown", "__class__", *_NAMES])] = rng.choice(OTHERS)
    elif how == "repeat" and isinstance(before, list | str):
        here[key] = before * rng.choice([2, 2, 3, 1000])
    else:
        here[key] = _another(rng, how, before)
    return f"{how} at {key!s:.40}"


def _another(rng: Random, how: str, before: Any) -> Any:
    """Instead of a value."""
    if how in ("deep", "name"):
        return _DEEP if how == "deep" else rng.choice(_NAMES)
    if how == "long":
        return rng.choice(["x" * 5_000_000, [0] * 1_000_000, {str(i): 0 for i in range(100_000)}])
    if how == "value" and isinstance(before, int | float):
        return rng.choice([*NUMBERS, before + 1, before - 1, before * 2, -before])
    if how == "value" and isinstance(before, str):
        return rng.choice([*_NAMES, before + "x", before.upper(), before[:-1], "0" * len(before)])
    if how == "value" and isinstance(before, list):
        return rng.choice([before[:-1], before[::-1], before + before[:1], [rng.choice(NUMBERS)] * len(before)])
    return rng.choice(OTHERS)


def written(rng: Random, tree: Any) -> bytes:
    """As JSON that may be none."""
    depth = rng.choice([200, 2_000, 100_000])
    text = json.dumps(tree).replace(json.dumps(_DEEP), "[" * depth + "]" * depth).replace(f'"{_TWICE}', '"')
    return text.encode("utf-8", "surrogatepass")


def tokenizer(rng: Random, data: bytes) -> Damage:
    """Rules that make texts longer, and ids that are none."""
    try:
        tree = json.loads(data)
        vocabulary = tree["model"]["vocab"]
        if rng.random() < 0.5:
            rules = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * rng.choice([3, 12, 24])
            tree["normalizer"] = {"type": "Sequence", "normalizers": rules}
            what = f"{len(rules)} rules that double a letter"
        else:
            word = rng.choice(sorted(vocabulary))
            vocabulary[word] = rng.choice([0, 1, 2**31, 2**32 - 1, 5_000, 10_000_000])
            what = f"the id of {word!r} is {vocabulary[word]}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return json_tree(rng, data)
    return json.dumps(tree).encode(), what
