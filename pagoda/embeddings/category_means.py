"""ID rows for items that have none: means of the rows of their categories' items, drawn to the out-of-vocabulary row.

Of a category with n items that have a row: n / (n + 10) · mean + 10 / (n + 10) · OOV, so that a few say little. An item
of several categories has the mean of theirs. The idea is that of a content-based start for embeddings of new items (Pan
et al., SIGIR 2019), without a model of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pagoda.embeddings.array_files import BLOCK_ROWS, open_array, save_array

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]
_SHRINKAGE = 10.0
UNKNOWN = 0
"""Index of a category that training has not met: its row is the out-of-vocabulary row."""


class CategoryMeans:
    """A row for each category, fixed once it is made."""

    def __init__(self, by: str, rows: Float32Array) -> None:
        """Take over the rows of all categories, float32 [categories, dim], by their index in the feature `by`."""
        self.by, self.rows = by, rows

    @classmethod
    def of(
        cls,
        by: str,
        categories: Int64Array,
        rows: Float32Array,
        weights: NDArray[np.float64],
        *,
        oov: Float32Array,
        size: int,
    ) -> CategoryMeans:
        """Means over n items that have a row.

        Args:
            by: The feature of items that says the category.
            categories: int64 [n] or, of several, [n, width]: their indices; 0 and below stand for none.
            rows: float32 [n, dim]; read in blocks.
            weights: float64 [n], above 0 where there is a category: what each counts in the means of its own.
            oov: float32 [dim], the out-of-vocabulary row.
            size: How many categories there are, the unknown one included.
        """
        sums, totals, counts = np.zeros((size, len(oov))), np.zeros(size), np.zeros(size)
        for start in range(0, len(rows), BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            member = _membership(categories[part], size).T
            sums += member.multiply(weights[part]) @ rows[part].astype(np.float64)
            totals += member @ weights[part]
            counts += member.sum(1).A1
        means = sums / np.maximum(totals, np.finfo(np.float64).tiny)[:, None]
        kept = kept_of_mean(counts)[:, None]
        return cls(by, (kept * means + (1 - kept) * oov).astype(np.float32))

    def of_items(self, categories: Int64Array) -> Float32Array:
        """Rows float32 [n, dim] of items of such categories, given as in `of`; each depends on its own alone."""
        member = _membership(categories, len(self.rows))
        counts = member.sum(1).A1
        rows = (member @ self.rows.astype(np.float64)) / np.maximum(counts, 1)[:, None]
        rows[counts == 0] = self.rows[UNKNOWN]
        return cast("Float32Array", rows.astype(np.float32))

    def save(self, path: Path) -> None:
        """Write them to a new file."""
        save_array(path, self.rows, np.float32)

    @classmethod
    def open(cls, path: Path, by: str, size: int, dim: int) -> CategoryMeans:
        """Map what `save` wrote, of so many categories.

        Raises:
            IntegrityError: The file is missing, damaged, or of other categories.
        """
        return cls(by, open_array(path, np.float32, (size, dim)))


def kept_of_mean(items: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the mean of so many items' rows stays, in [0, 1), like `items`; the rest is the OOV row's."""
    return items / (items + _SHRINKAGE)


def _membership(categories: Int64Array, size: int) -> csr_matrix:
    """Which items [n] are of which categories, float64 [n, size]: 1 or 0, also where a list says one twice."""
    lists = categories.reshape(len(categories), -1)
    item, place = np.nonzero(lists > UNKNOWN)
    found = csr_matrix((np.ones(len(item)), (item, lists[item, place])), shape=(len(lists), size))
    found.data[:] = 1
    return found
