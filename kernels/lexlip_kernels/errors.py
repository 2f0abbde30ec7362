"""The one error tree of the project; standard library only, so that every package can import it.

    LexLIPError            everything this project raises on purpose
    ├── BundleError        a model bundle or checkpoint is missing, damaged, or of another format version
    ├── InputError         an argument, option or input file is not what was asked for
    │   └── ImageError     one image cannot be decoded (the run goes on, the image is listed as failed)
    ├── BackendUnavailable an explicitly chosen backend cannot run here
    ├── MissingExtra       an optional dependency is not installed; the text holds the pip command
    └── OutputError        results cannot be written, or clash with what is already there

A message says what was given, what was expected, and what to do. Commands print it as one line and exit with
status 2; `assert` is for this project's own bugs only.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class LexLIPError(Exception):
    """Base of every error this project raises on purpose."""


class BundleError(LexLIPError):
    """A model bundle or checkpoint is missing, damaged, or of another format version."""


class InputError(LexLIPError, ValueError):
    """An argument, option or input file is not what was asked for."""


class ImageError(InputError):
    """One image cannot be decoded."""


class BackendUnavailable(LexLIPError, RuntimeError):  # noqa: N818  (public name fixed by the architecture)
    """An explicitly chosen backend cannot run on this machine."""


class MissingExtra(LexLIPError, ImportError):  # noqa: N818  (public name fixed by the architecture)
    """An optional dependency is not installed."""


class OutputError(LexLIPError, OSError):
    """Results cannot be written, or clash with what is already there."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say how to get it.

    Args:
        module: dotted name of the module to import, for example ``"torch"``.
        extra: the extra of this distribution that provides it.

    Raises:
        MissingExtra: the module is not installed. A module that is installed but fails to import raises its
            own error: hiding that would send the user to reinstall what is not missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        raise MissingExtra(
            f"{module} is not installed; it comes with the extra {extra!r}: pip install 'lexlip-infer[{extra}]'"
        ) from None
