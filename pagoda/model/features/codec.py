"""What a codec is: raw values of one feature to an array, from an Arrow column or from the values of requests.

Both ways give the same array (invariant 9). Index 0 always stands for what is unknown or missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.errors import RequestError

UNKNOWN = 0
PADDING = -1
"""Fills the places of a multi-valued feature after its last value."""

Form = Literal["index", "bag", "dense"]
"""`index`: int64 [n]. `bag`: int64 [n, width], `PADDING` at the end. `dense`: float32 [n, width]."""


class Codec(Protocol):
    """Encodes one feature."""

    form: ClassVar[Form]

    @property
    def size(self) -> int:
        """Number of distinct indices including `UNKNOWN`; of a dense feature its width."""

    def column(self, values: pa.ChunkedArray) -> NDArray[Any]:
        """Encode a column of the type that `Dataset` gives it."""

    def values(self, values: Sequence[Any]) -> NDArray[Any]:
        """Encode raw values, None where missing."""


def word(value: Any, name: str) -> str:
    """One word of feature `name`; RequestError unless `value` is a string, or an integer, which is read as one."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    raise RequestError(f"feature {name!r}: got {value!r}, expected a string or an integer")


def number(value: Any, name: str) -> float | None:
    """One number or None of feature `name`; RequestError for anything else."""
    if value is None:
        return None
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    raise RequestError(f"feature {name!r}: got {value!r}, expected a number")


def entries(value: Any, name: str, expected: str) -> list[Any]:
    """The entries of a list of feature `name`; RequestError unless `value` is one."""
    if isinstance(value, list | tuple | np.ndarray):
        return list(value)
    raise RequestError(f"feature {name!r}: got {value!r}, expected {expected}")
