"""What an official checkpoint says about itself: `hyper_parameters.config`, as Sacred gave it to Lightning.

Only numbers and words that are used or worth remembering are taken out, each after a check of its type: the rest of
the file is a stranger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lexlip_kernels.errors import BundleError

__all__ = ["StoredSettings", "stored_settings"]

#: Of the configuration, for people who look at the bundle.
_REMEMBERED = ("exp_name", "training_mode", "batch_size", "learning_rate", "temperature", "max_epoch", "max_steps")

#: Of a size; beyond it lies damage or mischief.
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """The settings that inference needs, and a record.

    Attributes:
        image_size: pixels, None where the file does not say.
        text_heads: attention heads of the text tower, None where the file does not say.
        max_length: tokens of a text.
        record: JSON-serialisable, for the provenance of a bundle.
    """

    image_size: int | None
    text_heads: int | None
    max_length: int
    record: dict[str, Any]


def stored_settings(content: Mapping[Any, Any], what: str) -> StoredSettings:
    """Read them from the saved dictionary.

    Args:
        content: the whole checkpoint.
        what: its name for messages.

    Raises:
        BundleError: a number is none that such a setting can have.
    """
    hyper_parameters = content.get("hyper_parameters")
    config = hyper_parameters.get("config") if isinstance(hyper_parameters, Mapping) else None
    if not isinstance(config, Mapping):
        config = {}
    remembered = {name: config.get(name) for name in _REMEMBERED}
    remembered |= {name: content.get(name) for name in ("epoch", "global_step")}
    return StoredSettings(
        image_size=_number(config, "image_size", what),
        text_heads=_number(config, "num_heads", what),
        max_length=_number(config, "max_text_len", what) or 40,
        record={name: value for name, value in remembered.items() if _is_plain(value)},
    )


def _number(config: Mapping[Any, Any], name: str, what: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise BundleError(f"{what}: the stored {name} is no number from 1 to {_LARGEST}")
    return value


def _is_plain(value: object) -> bool:
    """Short enough for a line of a manifest; Python refuses to print an integer of thousands of digits."""
    if isinstance(value, str):
        return len(value) <= 100
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 53)
