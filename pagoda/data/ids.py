"""String IDs are 64-bit xxh3 hashes inside Pagoda; files and answers keep the strings."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import xxhash

from pagoda.errors import DataError

WHOLE_NUMBER = r"0|-?[1-9][0-9]{0,18}"
"""Text that can be read as an integer and written again as it was."""


def whole_number(text: str) -> int | None:
    """Return the int64 that `text` writes out, None if it is none: `int` reads 1_0, 010 and other digits as 10, too."""
    if not re.fullmatch(WHOLE_NUMBER, text):
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


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
