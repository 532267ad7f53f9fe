"""What positives weigh in the loss, where the dataset declares a column for it: `positive_weight` of `FeatureSpec`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.checks.limits import LARGEST_WEIGHT, no_positive_weights
from pagoda.data.dataset import Dataset
from pagoda.errors import DataError

Float64Array = NDArray[np.float64]


def positive_weights(positives: pa.Table, name: str, dataset: Dataset) -> Float64Array:
    """What positives weigh, as the dataset has it.

    Args:
        positives: n rows of interactions, with IDs, timestamps and weights.
        name: Column of the weights.
        dataset: Where they come from.

    Returns:
        float64 [n], NaN for a positive without one.

    Raises:
        DataError: One is negative, not finite or too large; the message names the row.
    """
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


def relative_weights(
    positives: pa.Table, dataset: Dataset, mean: MeanWeight | None = None
) -> NDArray[np.float32] | None:
    """What positives weigh over the mean, so that steps keep their size.

    Args:
        positives: n rows, as for `positive_weights`.
        dataset: Where they come from.
        mean: Of the window; None: these are its positives.

    Returns:
        float32 [n]; 1 for a positive without a weight, what one has on average. None where the dataset declares none.

    Raises:
        DataError: As for `positive_weights`.
    """
    name = dataset.spec.positive_weight
    if name is None:
        return None
    weights = positive_weights(positives, name, dataset)
    if mean is None:
        mean = MeanWeight()
        mean.add(weights)
    return np.where(np.isnan(weights), 1.0, weights / mean.value).astype(np.float32)
