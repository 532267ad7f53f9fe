"""Codec of text: letter n-grams of its words, hashed, as DSSM reads words (Huang et al., CIKM 2013, section 3.2).

No vocabulary: a title that nobody has seen shares n-grams with others, and a misspelled word most of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.spec import PastText, Text
from pagoda.model.features.codec import PADDING, Form, word

Int64Array = NDArray[np.int64]
_EDGE = "#"
_MULTIPLIER, _MIX = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class TextCodec:
    """Text to the buckets of its first n-grams: `cat` is `#ca cat at#`, in lower case; anything else parts words."""

    feature: Text | PastText
    form: ClassVar[Form] = "bag"

    @property
    def size(self) -> int:
        return self.feature.buckets + 1

    def column(self, values: pa.ChunkedArray) -> Int64Array:
        filled = pc.fill_null(values.cast(pa.string()), self.feature.default)
        return self._encode(filled.combine_chunks())

    def values(self, values: Sequence[Any]) -> Int64Array:
        default, name = self.feature.default, self.feature.name
        words = [default if value is None else word(value, name) for value in values]
        return self._encode(pa.array(words, pa.string()))

    def _encode(self, texts: pa.Array) -> Int64Array:
        """All texts end to end, so that one pass over their letters hashes the n-grams of all."""
        n = self.feature.letters
        # An edge on both sides of each word; spaces part words, and the last one texts.
        plain = pc.replace_substring_regex(pc.utf8_lower(texts), r"[^\pL\pN]+", f"{_EDGE} {_EDGE}")
        marked = pc.binary_join_element_wise(_EDGE, plain, f"{_EDGE} ", "")
        letters = np.frombuffer("".join(marked.to_pylist()).encode("utf-32-le"), np.uint32)
        lengths = pc.utf8_length(marked).to_numpy(zero_copy_only=False)
        encoded = np.full((len(texts), self.feature.max_values), PADDING, np.int64)
        if len(letters) < n:
            return encoded
        windows = np.lib.stride_tricks.sliding_window_view(letters, n)
        whole = (windows != ord(" ")).all(1) & (windows != ord(_EDGE)).any(1)
        rows = np.repeat(np.arange(len(texts)), lengths)[: len(windows)][whole]
        counts = np.bincount(rows, minlength=len(texts))
        ordinal = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = ordinal < self.feature.max_values
        encoded[rows[kept], ordinal[kept]] = self._buckets(windows[whole][kept])
        return encoded

    def _buckets(self, grams: NDArray[np.uint32]) -> Int64Array:
        """Buckets from 1 on, int64 [m], of n-grams uint32 [m, n]: FNV's product over letters, and a last mix."""
        mixed = np.zeros(len(grams), np.uint64)
        for letters in grams.T:
            mixed = (mixed ^ letters) * _MULTIPLIER
        mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX
        return ((mixed >> np.uint64(32)) % np.uint64(self.feature.buckets)).astype(np.int64) + 1
