"""Resized position tables against their definitions, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lexlip_export.official.sizes import bicubic_2d, legacy_1d, legacy_stretch, window_of
from lexlip_kernels.errors import BundleError


@pytest.mark.parametrize(("old", "new"), [(14, 24), (3, 5)])
def test_legacy_stretch_reads_between_neighbours_of_the_flattened_table(old: int, new: int) -> None:
    table = torch.randn((2 * old - 1) ** 2 + 3, 2)
    rows = (2 * new - 1) ** 2 + 3
    position = (np.arange(rows) + 0.5) * len(table) / (rows + 0.1) - 0.5
    position = position.clip(0, len(table) - 1)
    expected = np.stack([np.interp(position, np.arange(len(table)), column) for column in table.numpy().T], axis=1)
    np.testing.assert_allclose(legacy_stretch(table, rows).numpy(), expected, atol=5e-4)


def test_legacy_takes_the_class_rows_from_the_middle_of_the_new_table() -> None:
    table = torch.randn(732, 3)
    stretched, resized = legacy_stretch(table, 2212), legacy_1d(table, 24)
    assert torch.equal(resized[:2209], stretched[:2209])
    assert torch.equal(resized[2209:], stretched[729:732])


def test_bicubic_resizes_the_grid_and_keeps_the_class_rows() -> None:
    side = torch.arange(-13.0, 14.0)
    plane = (2 * side[:, None] + 3 * side[None, :]).flatten()
    table = torch.cat([plane, torch.tensor([7.0, 8.0, 9.0])])[:, None]
    resized = bicubic_2d(table, 24)
    assert resized[2209:, 0].tolist() == [7.0, 8.0, 9.0]
    grid = resized[:2209, 0].reshape(47, 47)
    scale = 27 / 47
    inner = scale * torch.arange(-20.0, 21.0)  # away from the border a plane stays the plane, within 0.05 of a step
    torch.testing.assert_close(grid[3:44, 3:44], 2 * inner[:, None] + 3 * inner[None, :], rtol=0, atol=0.25)


def test_windows_are_read_off_the_rows() -> None:
    assert [window_of(rows, "table") for rows in (732, 2212, 4)] == [14, 24, 1]
    for rows in (0, 3, 7, 731, 19):
        with pytest.raises(BundleError, match=f"table has {rows} rows"):
            window_of(rows, "table")
