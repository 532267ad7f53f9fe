"""Drift checks: a version that lost its grip is stopped before anyone can register it."""

from __future__ import annotations

import torch
from torch import Tensor

from pagoda.config.training import DriftConfig
from pagoda.errors import GateError
from pagoda.training.tables import TrainableTable

_FEWEST = 32


def check_table(name: str, table: TrainableTable, limits: DriftConfig) -> dict[str, float]:
    """Check the rows of an ID table and return their mean and longest norm.

    Raises:
        GateError: A row is not finite or too long.
    """
    norms = table.rows.norm(dim=1)
    longest, mean = float(norms.max()), float(norms.mean())
    # NaN compares false, so a row that is not finite fails here as well.
    if not longest <= limits.max_row_norm:
        raise GateError(
            f"drift check: the longest row of the {name} table has norm {longest:.3g}, more than drift.max_row_norm "
            f"{limits.max_row_norm:g}; lower optimiser.table_learning_rate"
        )
    return {f"{name}_row_norm_mean": mean, f"{name}_row_norm_max": longest}


def check_lengths(name: str, vectors: Tensor, limits: DriftConfig) -> dict[str, float]:
    """Check the lengths of vectors (float32 [n, dim]) that are compared by inner product; return mean and longest.

    Raises:
        GateError: A vector is not finite or too long.
    """
    norms = vectors.norm(dim=1)
    longest, mean = float(norms.max()), float(norms.mean())
    # NaN compares false, so a vector that is not finite fails here as well.
    if not longest <= limits.max_row_norm:
        raise GateError(
            f"drift check: the longest {name} vector has norm {longest:.3g}, more than drift.max_row_norm "
            f"{limits.max_row_norm:g}; lower optimiser.table_learning_rate or optimiser.dense_learning_rate"
        )
    return {f"{name}_vector_norm_mean": mean, f"{name}_vector_norm_max": longest}


def check_vectors(name: str, vectors: Tensor, limits: DriftConfig) -> dict[str, float]:
    """Check that vectors (float32 [n, dim], unit length) are still apart, and return the mean cosine of two of them.

    A few may be alike by chance, so fewer than 32 are not judged.

    Raises:
        GateError: A vector is not finite, or they have collapsed.
    """
    count = len(vectors)
    if not torch.isfinite(vectors).all():
        raise GateError(f"drift check: {name} vectors are not finite")
    # The sum's squared length is the sum of all cosines, n of which are of a vector with itself.
    apart = (float(vectors.double().sum(0).square().sum()) - count) / (count * (count - 1)) if count > 1 else 0.0
    if count >= _FEWEST and apart > limits.max_mean_cosine:
        raise GateError(
            f"drift check: the {name} vectors have collapsed: the mean cosine of two is {apart:.3f}, more than "
            f"drift.max_mean_cosine {limits.max_mean_cosine:g}"
        )
    return {f"{name}_mean_cosine": apart}


def check_interests(vectors: Tensor, limits: DriftConfig) -> dict[str, float]:
    """Check that users' interests (float32 [n, interests, dim], unit length) are apart; return two's mean cosine.

    Fewer than 32 users are not judged, as for `check_vectors`.

    Raises:
        GateError: They have collapsed: users have one interest, several times.
    """
    count, interests, _ = vectors.shape
    if not count:
        return {}
    every = vectors.double().sum(1).square().sum(1) - interests
    mean = float(every.mean()) / (interests * (interests - 1))
    if count >= _FEWEST and mean > limits.max_interest_cosine:
        raise GateError(
            f"drift check: users' interests have collapsed: the mean cosine of two of one user is {mean:.3f}, more "
            f"than drift.max_interest_cosine {limits.max_interest_cosine:g}; train longer (bootstrap_epochs), or ask "
            "for fewer (model.history.interests)"
        )
    return {"interest_cosine": mean}
