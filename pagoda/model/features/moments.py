"""Codec of moments: what a clock shows then, in UTC or where the user is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pagoda.data.checks.zones import known_zones, local_us
from pagoda.data.spec import TimeOf
from pagoda.errors import DataError
from pagoda.model.features.codec import UNKNOWN, Form

Int64Array = NDArray[np.int64]
_HOUR_US = 3_600_000_000
_EPOCH_HOUR_OF_WEEK = 72
"""The epoch began on a Thursday; weeks begin on Monday."""
_SIZES = {"hour": 24, "weekday": 7, "hour_of_week": 168, "month": 12}


@dataclass(frozen=True)
class TimeCodec:
    """A part of a moment, counted from 1; a missing moment to `UNKNOWN`."""

    feature: TimeOf
    default_zone: str = ""
    """Of users whose zone is missing; what is no zone stands for UTC."""
    form: ClassVar[Form] = "index"

    def __post_init__(self) -> None:
        if self.feature.zone is not None and self.feature.zone not in known_zones():
            raise DataError(
                f"feature {self.feature.name!r}: zone {self.feature.zone!r} is none that this machine knows; a zone is "
                "called UTC or Europe/Berlin, say"
            )

    @property
    def size(self) -> int:
        return _SIZES[self.feature.part] + 1

    def moments(self, timestamps_us: Int64Array | None, rows: int, zones: pa.Array | None = None) -> Int64Array:
        """Encode moments.

        Args:
            timestamps_us: int64 [n] microseconds since the epoch.
            rows: n.
            zones: string [n], the values of the feature that holds zones; None: all are missing.
        """
        if timestamps_us is None:
            return np.full(rows, UNKNOWN, np.int64)
        shown = self._shown(timestamps_us, zones)
        if self.feature.part == "month":
            months = shown.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
            return months % 12 + 1
        hours = (shown // _HOUR_US + _EPOCH_HOUR_OF_WEEK) % 168
        part = {"hour": hours % 24, "weekday": hours // 24, "hour_of_week": hours}[self.feature.part]
        return np.asarray(part + 1, np.int64)

    def _shown(self, timestamps_us: Int64Array, zones: pa.Array | None) -> Int64Array:
        if self.feature.zone is not None:
            return local_us(timestamps_us, self.feature.zone)
        if self.feature.zone_feature is None:
            return timestamps_us
        given = pa.nulls(len(timestamps_us), pa.string()) if zones is None else zones
        return _shown_in(timestamps_us, pc.fill_null(given, self.default_zone))


def _shown_in(timestamps_us: Int64Array, zones: pa.Array) -> Int64Array:
    """What clocks show in zones, string [n]; zone by zone, of which there are a few hundred at most."""
    encoded = zones.dictionary_encode()
    numbers = np.asarray(encoded.indices)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(encoded.dictionary)))
    shown = timestamps_us.copy()
    for zone, own in zip(encoded.dictionary.to_pylist(), np.split(order, ends[:-1]), strict=False):
        if zone in known_zones():
            shown[own] = local_us(timestamps_us[own], zone)
    return shown
