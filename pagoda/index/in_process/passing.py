"""Which of n rows a search may find, as bits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pagoda.index.in_process.text_index import Scores, TextIndex

Rows = NDArray[np.int64]
Bits = NDArray[np.uint8]
"""The lowest of a byte first; those behind the last row are 0."""
_FEW = 4
_LISTED = 10_000
"""Rows that are named one by one to a search for words: at 1,000,000 items it takes 16 ms for 1,000 of them and 24 for
these, in which time others are found among all that the words find."""
_NAMED = 5
"""How many that the words find are gone through in the time in which one row is named."""
_FURTHER = 4
"""How many times more are looked for, where too few of what was found pass."""


def bits_of(mask: NDArray[np.bool_]) -> Bits:
    """A mask, bool [n], as bits."""
    return np.packbits(mask, bitorder="little")


def without(bits: Bits, rows: Rows) -> Bits:
    """The bits but for some rows; what was given stays as it is."""
    if not len(rows):
        return bits
    left = bits.copy()
    # One after another: several of them may lie in one byte.
    np.bitwise_and.at(left, rows >> 3, ~(1 << (rows & 7)).astype(np.uint8))
    return left


class Passing:
    """The rows that pass a filter."""

    def __init__(self, bits: Bits, rows: int) -> None:
        """Of n `rows`."""
        self.bits, self.count = bits, int(np.bitwise_count(bits).sum(dtype=np.int64))
        self._rows = rows
        # An array of all would be much larger than the bits, and no faster to go by.
        self._few = _FEW * self.count <= rows

    @property
    def nbytes(self) -> int:
        """Memory that it takes, or will."""
        return self.bits.nbytes + self._few * self.count * 8

    def holds(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of some rows does."""
        found: NDArray[np.bool_] = (self.bits[rows >> 3] >> (rows & 7)) & 1 == 1
        return found

    def of(self, rows: Rows) -> Rows:
        """Those of some rows that do."""
        return rows[self.holds(rows)] if len(rows) else rows

    @property
    def all(self) -> bool:
        """Whether each row does."""
        return self.count == self._rows

    @cached_property
    def few(self) -> Rows | None:
        """The rows themselves, ascending, where they are few."""
        return np.flatnonzero(np.unpackbits(self.bits, count=self._rows, bitorder="little")) if self._few else None


def best_words(
    index: TextIndex, weights: Mapping[str, float], k: int, passing: Passing, hidden: Rows
) -> tuple[Scores, Rows]:
    """The best k texts of what passes and is not hidden, as `TextIndex.search` gives them."""
    few, looked = passing.few, ceil(k * len(index) / max(passing.count, 1)) + len(hidden)
    while few is None or len(few) > max(_LISTED, looked // _NAMED):
        scores, rows = index.search(weights, min(looked, len(index)))
        stay = passing.holds(rows) & ~np.isin(rows, hidden)
        if np.count_nonzero(stay) >= k or len(rows) < looked:
            return scores[stay][:k], rows[stay][:k]
        looked *= _FURTHER
    return index.search(weights, k, few[~np.isin(few, hidden)])
