"""The error tree, re-exported from its one home so that users import it from here."""

from lexlip_kernels.errors import (
    BackendUnavailable,
    BundleError,
    ImageError,
    InputError,
    LexLIPError,
    MissingExtra,
    OutputError,
    require,
)

__all__ = [
    "BackendUnavailable",
    "BundleError",
    "ImageError",
    "InputError",
    "LexLIPError",
    "MissingExtra",
    "OutputError",
    "require",
]
