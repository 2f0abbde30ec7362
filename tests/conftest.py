"""Fixtures that several packages' tests share: a small random model, its bundle, and a few generated images.

Nothing here needs the network, a GPU or trained weights. Tests on real data read `$LEXLIP_DATA` and skip without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pytest
from captions import CAPTIONS
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Generator

    from tokenizers import Tokenizer

    from lexlip_training import LexLIP, ModelConfig

# Where there is no NVIDIA GPU, Triton's kernels run in its interpreter, which has to be chosen before anything imports
# Triton (parts of torch do).
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Where there is one, torch's products are deterministic only with this.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that would skip fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _without_skips(report, item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _without_skips(report, collector.config)


def _without_skips(report: Report, config: pytest.Config) -> Report:
    """Where everything that tests need is installed, a skip hides that something is not."""
    if report.skipped and config.getoption("--no-skips") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which --no-skips forbids: {report.longrepr}"
    return report


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """Small tensors gain nothing from threads, and on a busy machine they lose a great deal."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def captions() -> list[str]:
    return CAPTIONS


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    from lexlip_training.wordpiece import train_wordpiece

    return train_wordpiece(CAPTIONS, 150)


@pytest.fixture(scope="session")
def model_config(tokenizer: Tokenizer) -> ModelConfig:
    """A few thousand weights in the shape of lexlip-tiny, an adapter and the term bonus included."""
    from small_models import small_config

    return small_config(tokenizer)


@pytest.fixture(scope="session")
def random_model(model_config: ModelConfig) -> LexLIP:
    """In evaluation mode, with embeddings large enough for clear winners among the terms."""
    from small_models import small_model

    return small_model(model_config)


@pytest.fixture(scope="session")
def bundle_folder(random_model: LexLIP, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete bundle of the random model. Treat as read-only; copy it to damage it."""
    from lexlip_export import ExportSettings
    from lexlip_export.bundle_writer import write_bundle

    folder = tmp_path_factory.mktemp("bundle") / "random"
    settings = ExportSettings(image_top_k=24, text_top_k=8)
    write_bundle(random_model, tokenizer, {"notice": "Random weights."}, folder, settings)
    return folder


@pytest.fixture(scope="session")
def lookup_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with weights for queries that no tower sees. Treat as read-only."""
    from small_models import lookup_config, small_model

    from lexlip_export import ExportSettings
    from lexlip_export.bundle_writer import write_bundle

    folder = tmp_path_factory.mktemp("bundle") / "lookup"
    settings = ExportSettings(image_top_k=24, text_top_k=8)
    write_bundle(small_model(lookup_config(tokenizer)), tokenizer, {"notice": "Random weights."}, folder, settings)
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five smooth random images of various sizes in nested folders. Treat as read-only."""
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    names = ["a.jpg", "b.png", "sub/c.JPG", "sub/deeper/d.webp", "z.bmp"]
    for name, (width, height) in zip(names, [(64, 48), (50, 90), (64, 64), (33, 31), (100, 20)], strict=True):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return root


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real data, or a skip."""
    folder = os.environ.get("LEXLIP_DATA")
    if not folder:
        pytest.skip("LEXLIP_DATA is not set: it names a folder with flickr8k/, mobilenet_v2/ and oracle/")
    return Path(folder)
