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
    """All names. Not `localtime`, which is another zone on another machine."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def local_us(times_us: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """What a clock in a known zone shows at moments, int64 [n] microseconds: as if it were UTC."""
    shown = pc.local_timestamp(pa.array(times_us, pa.timestamp("us", zone)))
    return np.asarray(shown.cast(pa.int64()), np.int64)
