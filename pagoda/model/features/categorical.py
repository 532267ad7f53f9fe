"""Codecs of strings: categorical and multi-valued features, by vocabularies that only grow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.spec import Categorical, MultiValued
from pagoda.errors import DataError
from pagoda.model.features.codec import PADDING, UNKNOWN, Form, entries, word


@dataclass
class Vocabulary:
    """Strings and their indices from 1 on. It only grows: an index never moves."""

    words: list[str] = field(default_factory=list)
    index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.index = {word: number for number, word in enumerate(self.words, 1)}
        if len(self.index) != len(self.words):
            raise DataError(f"a vocabulary of {len(self.words)} words holds only {len(self.index)} different ones")

    def grow(self, words: Sequence[str]) -> None:
        """Add those of `words` that are new, in the order given."""
        for new in words:
            if new not in self.index:
                self.words.append(new)
                self.index[new] = len(self.words)

    def encode(self, strings: pa.Array) -> NDArray[np.int64]:
        """Indices int64 [n] of strings without nulls; `UNKNOWN` where the vocabulary lacks them."""
        found = pc.index_in(strings, pa.array(self.words, pa.string()))
        # A copy, since Arrow's own memory is read-only and tensors are not.
        return np.array(pc.fill_null(pc.add(found, 1), UNKNOWN).to_numpy(zero_copy_only=False), np.int64)


@dataclass(frozen=True)
class CategoricalCodec:
    """A string, or an integer read as one, to its index."""

    feature: Categorical
    vocabulary: Vocabulary
    form: ClassVar[Form] = "index"

    @property
    def size(self) -> int:
        return len(self.vocabulary.words) + 1

    def column(self, values: pa.ChunkedArray) -> NDArray[np.int64]:
        filled = pc.fill_null(values.cast(pa.string()), self.feature.default)
        return self.vocabulary.encode(filled.combine_chunks())

    def values(self, values: Sequence[Any]) -> NDArray[np.int64]:
        index, default = self.vocabulary.index, self.feature.default
        words = [default if value is None else word(value, self.feature.name) for value in values]
        return np.array([index.get(found, UNKNOWN) for found in words], np.int64)

    def grow(self, values: pa.ChunkedArray) -> None:
        """Take in the words of a column, and the default."""
        self.vocabulary.grow(_words(values.cast(pa.string()), [self.feature.default]))


@dataclass(frozen=True)
class MultiValuedCodec:
    """A list of strings to the indices of its first `max_values`."""

    feature: MultiValued
    vocabulary: Vocabulary
    form: ClassVar[Form] = "bag"

    @property
    def size(self) -> int:
        return len(self.vocabulary.words) + 1

    def column(self, values: pa.ChunkedArray) -> NDArray[np.int64]:
        lists = values.combine_chunks().cast(pa.list_(pa.string()))
        rows = np.asarray(pc.list_parent_indices(lists), np.int64)
        strings = pc.list_flatten(lists)
        present = np.asarray(strings.is_valid())
        rows, indices = rows[present], self.vocabulary.encode(strings.drop_null())
        counts = np.bincount(rows, minlength=len(lists))
        ordinal = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = ordinal < self.feature.max_values
        encoded = self._padding(len(lists))
        encoded[rows[kept], ordinal[kept]] = indices[kept]
        if lists.null_count:
            encoded[np.asarray(lists.is_null())] = self.values([None])
        return encoded

    def values(self, values: Sequence[Any]) -> NDArray[np.int64]:
        index, feature = self.vocabulary.index, self.feature
        encoded = self._padding(len(values))
        for row, value in enumerate(values):
            given = feature.default if value is None else entries(value, feature.name, "a list of strings")
            words = [word(entry, feature.name) for entry in given if entry is not None][: feature.max_values]
            encoded[row, : len(words)] = [index.get(found, UNKNOWN) for found in words]
        return encoded

    def grow(self, values: pa.ChunkedArray) -> None:
        """Take in the words of a column, and the default ones."""
        strings = pc.list_flatten(values.cast(pa.list_(pa.string())))
        self.vocabulary.grow(_words(strings, list(self.feature.default)))

    def _padding(self, rows: int) -> NDArray[np.int64]:
        return np.full((rows, self.feature.max_values), PADDING, np.int64)


def _words(strings: pa.ChunkedArray, defaults: list[str]) -> list[str]:
    distinct = sorted(word for word in pc.unique(strings).to_pylist() if word)
    return [*(word for word in defaults if word), *distinct]
