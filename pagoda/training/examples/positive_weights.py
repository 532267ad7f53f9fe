"""What positives weigh in the loss, where the dataset declares a column for it: `positive_weight` of `FeatureSpec`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.checks.limits import LARGEST_WEIGHT, no_positive_weights
from pagoda.data.dataset import Dataset
from pagoda.errors import DataError

Float64Array = NDArray[np.float64]


def positive_weights(positives: pa.Table, dataset: Dataset) -> Float64Array | None:
    """What positives weigh, as the dataset has it.

    Args:
        positives: n rows of interactions, with IDs and the column of weights.
        dataset: Where they come from.

    Returns:
        float64 [n], NaN for a positive without one; None where the dataset declares no weights.

    Raises:
        DataError: One is negative, not finite or too large; the message names the row.
    """
    name = dataset.spec.positive_weight
    if name is None:
        return None
    column = positives[name].combine_chunks()
    if (wrong := np.flatnonzero(no_positive_weights(column.fill_null(1.0).to_numpy(zero_copy_only=False)))).size:
        row = positives.slice(int(wrong[0]), 1).to_pylist()[0]
        raise DataError(
            f"{dataset.path}: user {row['user_id']}, item {row['item_id']}, {row['timestamp'].isoformat()}, column "
            f"{name!r}: {row[name]} is no weight of a positive; it must be from 0 to {LARGEST_WEIGHT:g}, or null where "
            "there is none; correct the row and import it again"
        )
    weights: Float64Array = column.to_numpy(zero_copy_only=False)
    return weights


class MeanWeight:
    """The mean of what positives weigh; those without a weight are left out of account."""

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0

    def add(self, weights: Float64Array) -> None:
        """Take in some, as `positive_weights` has them."""
        self._total += float(np.nansum(weights))
        self._count += int(np.count_nonzero(~np.isnan(weights)))

    @property
    def value(self) -> float:
        """1 where there was no weight, or none above 0."""
        return self._total / self._count if self._total else 1.0


def relative_weights(weights: Float64Array, mean: float) -> NDArray[np.float32]:
    """Weights (float64 [n], as `positive_weights` has them) over their mean, so that steps keep their size.

    Returns:
        float32 [n]; 1 for a positive without a weight, what one has on average.
    """
    return np.where(np.isnan(weights), 1.0, weights / mean).astype(np.float32)
