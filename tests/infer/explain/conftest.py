"""What draws clouds is an extra."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _extra_viz() -> None:
    for module in ("matplotlib", "wordcloud"):
        pytest.importorskip(module, reason=f"{module} is not installed: pip install 'lexlip-infer[viz]'")
