"""What a reader saw and did not take, so that nobody wonders where a file went."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PassedOver"]

#: Kinds of files that a message names.
_NAMED_KINDS = 5


class PassedOver:
    """Files passed over, counted by suffix."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()

    @classmethod
    def together(cls, parts: Iterable[PassedOver]) -> PassedOver:
        """The sum of several."""
        whole = cls()
        for part in parts:
            whole.kinds.update(part.kinds)
        return whole

    def add(self, name: str) -> None:
        """Count a file by its name."""
        self.kinds[PurePosixPath(name).suffix.lower() or "no suffix"] += 1

    def kinds_seen(self) -> str:
        """Such as "2 x .txt, 1 x .svg", the five most frequent kinds; empty if every file was taken."""
        ranked = sorted(self.kinds.items(), key=lambda kind: (-kind[1], kind[0]))
        kinds = [f"{count} x {suffix}" for suffix, count in ranked]
        return ", ".join(kinds[:_NAMED_KINDS] + ["…"] * (len(kinds) > _NAMED_KINDS))

    def __str__(self) -> str:
        count = self.kinds.total()
        return f"{count:,} other file{'s' * (count != 1)} passed over: {self.kinds_seen()}" if count else ""
