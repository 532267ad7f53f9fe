"""What offline gates judge: what was measured of a candidate before any user met it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pagoda.config.model import Similarity


@dataclass(frozen=True)
class VectorReport:
    """What the item vectors look like."""

    rows: int
    not_finite: int
    """Rows with NaN or infinity."""
    norm_error: float | None
    """Largest distance of a finite row's length from one; None where vectors may have any length."""
    spread: float
    """1 - |mean|², the variance of unit vectors around their mean: 1 when they point everywhere, 0 when all alike. Of
    vectors of any length, where they point counts."""


@dataclass(frozen=True)
class RecallRows:
    """Recall of candidate and champion on the same rows."""

    users: npt.NDArray[np.int64]
    """[rows]"""
    candidate: npt.NDArray[np.floating]
    """[rows] 1 where the target was among the first k, else 0 (or any per-row measure where more is better)."""
    champion: npt.NDArray[np.floating]
    """[rows]"""


@dataclass(frozen=True)
class OfflineEvidence:
    """What was measured of a candidate before its rollout."""

    ann_recall: float
    items: int
    """Rows in the collection."""
    expected_items: int
    """By the manifest."""
    vectors: VectorReport
    recall: RecallRows | None = None
    """None when there is no champion."""
    checksums: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By part: what the manifest says, and what was found."""


def inspect_vectors(blocks: Iterable[npt.NDArray[np.float32]], similarity: Similarity = "cosine") -> VectorReport:
    """Look at float32 [n, dim] blocks of item vectors that are compared so, one block at a time."""
    rows, not_finite, worst = 0, 0, 0.0
    total: npt.NDArray[np.float64] | float = 0.0
    for block in blocks:
        finite = np.isfinite(block).all(axis=1)
        rows += len(block)
        not_finite += int((~finite).sum())
        good = block[finite].astype(np.float64)
        if len(good):
            norms = np.linalg.norm(good, axis=1)
            worst = max(worst, float(np.abs(norms - 1).max()))
            if similarity == "dot":
                good /= np.maximum(norms, np.finfo(np.float32).tiny)[:, None]
            total = total + good.sum(axis=0)
    mean = np.atleast_1d(total) / max(rows - not_finite, 1)
    error = worst if similarity == "cosine" else None
    return VectorReport(rows, not_finite, error, max(0.0, 1 - float(mean @ mean)))
