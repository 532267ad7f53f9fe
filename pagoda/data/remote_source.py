"""Where a dataset that is not on this machine comes from: what is asked for is brought, and nothing else."""

from __future__ import annotations

from datetime import date
from typing import Protocol

from pagoda.data.layout import Table
from pagoda.data.window import Window


class Source(Protocol):
    """Fills a dataset folder while it is read. Feature file and the first and last date are there from the start."""

    edges: tuple[date, date]
    """The first and the last date that there are interactions of."""

    def interactions(self, window: Window | None) -> bool:
        """Have every date of a window in the folder (None: all dates); says whether a file was brought.

        Raises:
            UnavailableError: The store does not answer, or the disk is full.
        """

    def table(self, table: Table) -> None:
        """Have `users` or `items` in the folder.

        Raises:
            UnavailableError: The store does not answer, or the disk is full.
        """
