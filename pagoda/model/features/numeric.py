"""Codecs of numbers and vectors."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.spec import Dense, Numeric
from pagoda.errors import DataError, RequestError
from pagoda.model.features.codec import UNKNOWN, Form, entries, number


@dataclass(frozen=True)
class NumericCodec:
    """A number to its bucket: index i+1 holds edges[i-1] <= value < edges[i].

    A missing number or NaN has the default's bucket, or without a default index 0.
    """

    feature: Numeric
    form: ClassVar[Form] = "index"

    @property
    def size(self) -> int:
        return len(self.feature.edges) + 2

    def column(self, values: pa.ChunkedArray) -> NDArray[np.int64]:
        numbers = np.asarray(values.to_numpy(), np.float64)
        buckets = np.searchsorted(self.feature.edges, numbers, side="right") + 1
        return np.where(np.isnan(numbers), self._bucket(None), buckets)

    def values(self, values: Sequence[Any]) -> NDArray[np.int64]:
        return np.array([self._bucket(number(value, self.feature.name)) for value in values], np.int64)

    def _bucket(self, number: float | None) -> int:
        if number is None or math.isnan(number):
            number = self.feature.default
        return UNKNOWN if number is None else bisect_right(self.feature.edges, number) + 1


@dataclass(frozen=True)
class DenseCodec:
    """A vector as it is; zeros where it is missing, zero for each entry that is not finite."""

    feature: Dense
    form: ClassVar[Form] = "dense"

    @property
    def size(self) -> int:
        return self.feature.length

    def column(self, values: pa.ChunkedArray) -> NDArray[np.float32]:
        lists = values.combine_chunks().cast(pa.list_(pa.float32()))
        lengths = pc.fill_null(pc.list_value_length(lists), self.size).to_numpy(zero_copy_only=False)
        if (wrong := np.flatnonzero(lengths != self.size)).size:
            raise DataError(self._wrong_length(int(lengths[wrong[0]]), f"row {wrong[0]}"))
        vectors = np.zeros((len(lists), self.size), np.float32)
        given = np.asarray(lists.is_valid())
        vectors[given] = pc.list_flatten(lists).to_numpy(zero_copy_only=False).reshape(-1, self.size)
        return np.where(np.isfinite(vectors), vectors, np.float32(0))

    def values(self, values: Sequence[Any]) -> NDArray[np.float32]:
        name = self.feature.name
        vectors = np.zeros((len(values), self.size), np.float32)
        for row, value in enumerate(values):
            if value is None:
                continue
            numbers = [number(entry, name) for entry in entries(value, name, "a list of numbers")]
            if len(numbers) != self.size:
                raise RequestError(self._wrong_length(len(numbers), "the value"))
            vectors[row] = np.array(numbers, np.float32)
        return np.where(np.isfinite(vectors), vectors, np.float32(0))

    def _wrong_length(self, length: int, where: str) -> str:
        return f"feature {self.feature.name!r}: {where} has {length} entries, expected {self.size}"
