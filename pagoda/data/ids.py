"""String IDs are 64-bit xxh3 hashes inside Pagoda; files and answers keep the strings."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from pagoda.errors import DataError

_DIGITS = 19
"""Of the largest int64."""
WHOLE_NUMBER = rf"0|-?[1-9][0-9]{{0,{_DIGITS - 1}}}"
"""Text that can be read as an integer and written again as it was."""
NOBODY: dict[str, int | str] = {"int64": -(2**63) + 1, "string": "nobody: warm-up"}
"""IDs that no user has, by `id_type`: by these a tower is asked what it makes of somebody whom it has no row of."""
_NOBODY_HASH = np.uint64(xxhash.xxh3_64_intdigest(str(NOBODY["string"]).encode())).astype(np.int64)
_GOLDEN = 0x9E3779B97F4A7C15
"""What SplitMix64's state grows by from draw to draw."""
_SHORTER = rf"^(0|-?[1-9][0-9]{{0,{_DIGITS - 2}}})$"


def whole_number(text: str) -> int | None:
    """Return the int64 that `text` writes out, None if it is none: `int` reads 1_0, 010 and other digits as 10, too."""
    if not re.fullmatch(WHOLE_NUMBER, text):
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


def look_like_numbers(ids: pa.Array) -> bool:
    """Whether some IDs say that all are int64: by their type, or as text that is whole numbers as they are written.

    Of text, a digit below the longest: others that follow may be larger. Nulls say nothing.
    """
    if pa.types.is_string(ids.type):
        return bool(pc.all(pc.match_substring_regex(ids, _SHORTER)).as_py())
    return is_number_type(ids.type)


def is_number_type(kind: pa.DataType) -> bool:
    """Whether IDs of this type are numbers, by themselves, in lists or encoded."""
    one = kind.value_type if pa.types.is_list(kind) or pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_decimal(one))


def hash_ids(keys: pa.Array | pa.ChunkedArray | Sequence[str]) -> np.ndarray:
    """Return int64 [n]: the xxh3-64 of each string's UTF-8 bytes, read as a signed number.

    Raises:
        DataError: A key is null.
    """
    array = keys if isinstance(keys, pa.Array | pa.ChunkedArray) else pa.array(keys, pa.string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count:
        raise DataError(
            f"ID {array.is_null().index(True).as_py() + 1:,} of {len(array):,} is null; every row needs an ID"
        )
    if not len(array):
        return np.empty(0, np.int64)
    # IDs repeat, so each distinct one is hashed once.
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    distinct = encoded.dictionary.cast(pa.large_binary()).to_pylist()
    digests = np.fromiter(map(xxhash.xxh3_64_intdigest, distinct), np.uint64, len(distinct)).view(np.int64)
    hashed: np.ndarray = digests[encoded.indices.to_numpy()]
    return hashed


def user_places(users: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where each user stands in [0, 1), evenly and for ever: float64 [n], see `draw_of`."""
    spread: NDArray[np.float64] = (draw_of(users, 1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return spread


def draw_of(ids: NDArray[np.int64], number: int) -> NDArray[np.uint64]:
    """The draw of this number (1 and up) that each ID always has, uint64 [n], evenly over all of 64 bits.

    By SplitMix64 (Steele et al., OOPSLA 2014), since IDs that were counted upwards are no random numbers.
    """
    mixed = ids.astype(np.uint64) + np.uint64(number * _GOLDEN % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def of_nobody(ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `ids` int64 [n] are `NOBODY`, as they are inside Pagoda, bool [n]."""
    return np.asarray((ids == NOBODY["int64"]) | (ids == _NOBODY_HASH))
