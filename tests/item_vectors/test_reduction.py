"""Fewer numbers keep the order of items as well as they can, for users as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pagoda.errors import IntegrityError
from pagoda.item_vectors.reduction import REDUCTION_FILE, Reduction
from tests.item_vectors.worlds import unit_vectors

USERS = unit_vectors(300, seed=3, clusters=400) * np.linspace(3, 0.1, 16, dtype=np.float32)
ITEMS = unit_vectors(2000, clusters=400) * np.linspace(0.5, 2, 16, dtype=np.float32)
"""Users differ along the first axes most, and items along the last."""


def _recall(users: np.ndarray, items: np.ndarray, k: int = 50) -> float:
    """Of the true best k, among as many by fewer numbers."""
    true, found = (np.argsort(-products, axis=1)[:, :k] for products in (USERS @ ITEMS.T, users @ items.T))
    return float(np.mean([np.isin(one, other).mean() for one, other in zip(true, found, strict=True)]))


def test_with_all_numbers_nothing_is_lost(tmp_path: Path) -> None:
    Reduction.learn(USERS, [ITEMS[:700], ITEMS[700:]], 16).write(tmp_path)
    same = Reduction.read(tmp_path / REDUCTION_FILE)
    products = same.of_users(USERS) @ same.of_items(ITEMS).T + (USERS @ same.mean)[:, None]
    assert np.allclose(products, USERS @ ITEMS.T, atol=1e-4)


def test_it_keeps_more_than_the_items_own_axes_do() -> None:
    both = Reduction.learn(USERS, [ITEMS], 8)
    axes = np.linalg.svd(ITEMS - ITEMS.mean(axis=0), full_matrices=False)[2][:8].T
    assert _recall(both.of_users(USERS), both.of_items(ITEMS)) > _recall(USERS @ axes, ITEMS @ axes) + 0.1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / REDUCTION_FILE).write_bytes(b"PK")
    with pytest.raises(IntegrityError, match=REDUCTION_FILE):
        Reduction.read(tmp_path / REDUCTION_FILE)
