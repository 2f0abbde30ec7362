"""The choice of a backend is loud: what cannot run is refused, and only a failed import counts."""

from __future__ import annotations

import importlib

import pytest

from lexlip_kernels import backends
from lexlip_kernels.errors import BackendUnavailable, InputError


@pytest.fixture
def import_error(monkeypatch):
    """Make importing the compiled module raise."""

    def install(error):
        def import_module(name):
            assert name == "lexlip_kernels._native"
            raise error

        monkeypatch.setattr(importlib, "import_module", import_module)
        backends._native_import_error.cache_clear()

    yield install
    monkeypatch.undo()
    backends._native_import_error.cache_clear()


def test_auto_takes_the_first():
    assert backends.choose_backend("auto") == backends.available_backends()[0] == "native"
    assert backends.choose_backend("reference") == "reference"


def test_without_the_compiled_module(import_error):
    import_error(ImportError("undefined symbol: x"))
    assert backends.available_backends() == ("reference",)
    assert backends.choose_backend("auto") == "reference"
    with pytest.raises(BackendUnavailable, match=r"undefined symbol: x.*reinstall"):
        backends.choose_backend("native")


def test_other_errors_are_not_swallowed(import_error):
    import_error(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        backends.choose_backend("auto")


@pytest.mark.parametrize("name", ["cuda", "", None])
def test_unknown_backend(name):
    with pytest.raises(InputError, match="expected 'auto', 'native' or 'reference'"):
        backends.choose_backend(name)
