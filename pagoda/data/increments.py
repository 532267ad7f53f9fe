"""Files by which a dataset grows while it is used: events as they arrived, and items that were changed.

`events-<start>-<end>.parquet` below a date holds what of that date arrived in [start, end) (ms since the epoch). A
longer span stands for all shorter ones inside it, so many small files can become one by a single rename, and whoever
reads meanwhile sees the small ones or the large one, never both. `changes-<number>.parquet` in `items` holds the items
that the first `number` records of the item log changed; the highest number stands for all, and before the other files.

Where others train on TFRecord, `tfrecord/date=…/events-<start>-<end>.tfrecord` holds the same events once more, by
hours of arrival; each is in one file, so who reads them needs no rule. Nothing here reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TFRECORD_FOLDER = "tfrecord"
_EVENTS = re.compile(r"events-(\d{14})-(\d{14})\.parquet")
_CHANGES = re.compile(r"changes-(\d{12})\.parquet")


@dataclass(frozen=True, order=True, slots=True)
class Arrivals:
    """A span of arrival, [start_ms, end_ms) since the epoch."""

    start_ms: int
    end_ms: int

    @property
    def name(self) -> str:
        """Name of the files with what arrived in it; they sort by time."""
        return f"events-{self.start_ms:014d}-{self.end_ms:014d}.parquet"

    def covers(self, other: Arrivals) -> bool:
        """Whether the other span lies inside this one."""
        return self.start_ms <= other.start_ms and other.end_ms <= self.end_ms


def arrivals_of(name: str) -> Arrivals | None:
    """The span that a file name says, None for files of other kinds."""
    found = _EVENTS.fullmatch(name)
    return Arrivals(int(found[1]), int(found[2])) if found else None


def superseded(names: Iterable[str]) -> set[str]:
    """Those of one date's file names for which another stands."""
    spans = sorted((span for name in names if (span := arrivals_of(name))), key=lambda s: (s.start_ms, -s.end_ms))
    gone, last = set(), None
    for span in spans:
        if last is not None and last.covers(span):
            gone.add(span.name)
        else:
            last = span
    return gone


def changes_name(number: int) -> str:
    """Name of the file with what the first `number` records of the item log changed."""
    return f"changes-{number:012d}.parquet"


def changes_of(name: str) -> int | None:
    """The number that a file name says, None for files of other kinds."""
    found = _CHANGES.fullmatch(name)
    return int(found[1]) if found else None


def current_items(paths: list[Path]) -> list[Path]:
    """The files of `items` that count: the newest changes first, if there are any, then those of other kinds."""
    changes = [path for path in paths if changes_of(path.name) is not None]
    others = [path for path in paths if changes_of(path.name) is None]
    return [*sorted(changes)[-1:], *others]
