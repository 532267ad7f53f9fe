"""Which values of a column a cast refuses, found without looking at each by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Cast = Callable[[pa.Array], pa.Array]
Misshapen = Callable[[pa.Array], pa.Array]
_REFUSED = (pa.ArrowInvalid, pa.ArrowNotImplementedError)


def find_misfits(raw: pa.Array, cast: Cast, misshapen: Misshapen | None, *, first_only: bool) -> np.ndarray:
    """Return bool [n]: which values `cast` refuses, or gives null for.

    Args:
        raw: The values, of which some are refused.
        cast: Raises for refused values.
        misshapen: Which values (bool [n]) are of a shape that never fits: it finds most of them at once.
        first_only: The first is enough.
    """
    if first_only:
        only: np.ndarray = np.arange(len(raw)) == _first(raw, cast)
        return only
    if not _fits(raw.slice(0, 0), cast, nulls=True):  # It is the type that is refused.
        return np.ones(len(raw), bool)
    bad = np.zeros(len(raw), bool)
    if misshapen is not None:
        bad = misshapen(raw).fill_null(False).to_numpy(zero_copy_only=False)
    rest = pc.if_else(pa.array(bad), pa.scalar(None, raw.type), raw)
    for start, end in _halved(rest, cast):
        bad[start:end] = True
    given = pc.if_else(pa.array(bad), pa.scalar(None, raw.type), raw)
    bad |= pc.and_(cast(given).is_null(), raw.is_valid()).to_numpy(zero_copy_only=False)
    return bad


def _first(raw: pa.Array, cast: Cast) -> int:
    """Position of the first value that is refused."""
    start, end = 0, len(raw)
    while end - start > 1:
        middle = (start + end) // 2
        if _fits(raw.slice(start, middle - start), cast, nulls=False):
            start = middle
        else:
            end = middle
    return start


def _halved(raw: pa.Array, cast: Cast) -> list[tuple[int, int]]:
    """The slices of one value each that are refused; what is well as a whole is not looked at again."""
    found, waiting = [], [(0, len(raw))]
    while waiting:
        start, end = waiting.pop()
        if start == end or _fits(raw.slice(start, end - start), cast, nulls=True):
            continue
        if end - start == 1:
            found.append((start, end))
        else:
            middle = (start + end) // 2
            waiting += [(start, middle), (middle, end)]
    return found


def _fits(values: pa.Array, cast: Cast, *, nulls: bool) -> bool:
    try:
        return bool(cast(values).null_count == values.null_count or nulls)
    except _REFUSED:
        return False
