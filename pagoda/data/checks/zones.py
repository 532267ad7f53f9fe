"""Time zones by their IANA names: which there are, and what their clocks show."""

from __future__ import annotations

import zoneinfo
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@cache
def known_zones() -> frozenset[str]:
    """All names whose clocks `local_us` can read. Not `localtime`, which is another zone on another machine."""
    return frozenset(filter(_is_readable, zoneinfo.available_timezones() - {"localtime"}))


def _is_readable(zone: str) -> bool:
    """Arrow reads the system's zones alone, and not `Factory`; Python knows those of the package tzdata, too."""
    try:
        local_us(np.zeros(1, np.int64), zone)
    except pa.ArrowInvalid:
        return False
    return True


def local_us(times_us: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """What a clock in a known zone shows at moments, int64 [n] microseconds: as if it were UTC."""
    shown = pc.local_timestamp(pa.array(times_us, pa.timestamp("us", zone)))
    return np.asarray(shown.cast(pa.int64()), np.int64)
