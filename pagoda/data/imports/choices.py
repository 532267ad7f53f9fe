"""What an import is told by one word of several. Commands name them before anything heavy is loaded."""

from __future__ import annotations

from enum import StrEnum


class TimeUnit(StrEnum):
    """How the timestamps of a source are written."""

    ISO = "iso"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"


class UnknownItems(StrEnum):
    """What happens to items that interactions have and the items' files do not."""

    REFUSE = "refuse"
    MAKE = "make"
