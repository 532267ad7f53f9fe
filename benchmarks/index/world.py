"""Items and queries in clusters, as learned vectors are, and which items each filter keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pagoda.item_vectors.exact_search import exact_top_k

DIM, K, QUERIES, CHECKED = 64, 100, 1000, 200
SHARES = (1.0, 0.5, 0.1, 0.01)
"""How much each filter keeps; items are kept whatever their topic."""
FEWEST = 20_000
"""Items of a world."""
_BLOCK = 65_536
_MADE = "made"


@dataclass(frozen=True)
class IndexedWorld:
    """Unit vectors, and the true best items of the first queries under each filter."""

    vectors: NDArray[np.float32]
    """[n, dim]"""
    queries: NDArray[np.float32]
    """[QUERIES, dim]"""
    draws: NDArray[np.float32]
    """[n]: a filter of share s keeps those below s."""
    truth: NDArray[np.float32]
    """[shares, CHECKED, K]: inner products, best first."""

    @classmethod
    def open(cls, folder: Path) -> IndexedWorld:
        """What `make` wrote, mapped."""
        names = ("vectors", "queries", "draws", "truth")
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def make(folder: Path, items: int) -> None:
    """Write a world of some size; one that is there stays."""
    if (folder / _MADE).exists():
        return
    # PyTorch comes with it, whose threads are no part of what is measured.
    from benchmarks.online.world import TOPICS, TopicRows

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = TopicRows(random)
    vectors, queries = (_unit(rows.draw(random.integers(0, TOPICS, count))) for count in (items, QUERIES))
    draws = random.random(items, np.float32)
    truth = [_best(queries[:CHECKED], vectors[draws < share]) for share in SHARES]
    for name, array in {"vectors": vectors, "queries": queries, "draws": draws, "truth": np.stack(truth)}.items():
        np.save(folder / f"{name}.npy", array)
    (folder / _MADE).touch()  # A killed one leaves half an array.


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _best(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    pieces = ((start, vectors[start : start + _BLOCK]) for start in range(0, len(vectors), _BLOCK))
    return exact_top_k(queries, ((np.arange(start, start + len(piece)), piece) for start, piece in pieces), K)[1]
