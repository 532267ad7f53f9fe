"""Which of n rows a search may find, as bits."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Bits = NDArray[np.uint8]
"""The lowest of a byte first; those behind the last row are 0."""
_FEW = 4


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
