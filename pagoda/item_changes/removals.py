"""How much of the catalogue may be removed within a while: many small removals count like a large one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from pagoda.errors import RequestError
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.records import ItemChange, ItemRecord

ItemId = int | str


class TooManyRemovalsError(RequestError):
    """More of the catalogue would be gone than is let go without force."""

    def __init__(self, message: str, beyond: Collection[ItemId]) -> None:
        """Make one; `beyond` are the items that are too many, those that are named last."""
        super().__init__(message)
        self.beyond = frozenset(beyond)


class RemovalLimit:
    """Counts the items that records have removed, as they are read."""

    def __init__(self, share: float, window: timedelta, catalogue: Callable[[], int]) -> None:
        """Nothing is removed yet.

        Args:
            share: Of the catalogue that may be removed within `window`.
            window: How far back is counted.
            catalogue: Gives the number of items there are; 0: nothing was published, and there is no limit.
        """
        self._share, self._window, self._catalogue = share, window, catalogue
        self._gone: dict[ItemId, datetime | None] = {}
        """Removed items by when; None: it does not count."""

    def take(self, record: ItemRecord) -> None:
        """Take in the next record."""
        for change in record.changes:
            if change.features is not None:
                self._gone.pop(change.item_id, None)
            elif change.item_id not in self._gone:
                self._gone[change.item_id] = None if record.forced else record.at

    def check(self, changes: Sequence[ItemChange], now: datetime) -> None:
        """Judge changes that would follow what was taken.

        Raises:
            TooManyRemovalsError: They would remove too much; the message says how much, and what to do.
        """
        removed = dict.fromkeys(change.item_id for change in changes if change.features is None)
        new = [item for item in removed if item not in self._gone]
        if not new or not (items := self._catalogue()):
            return
        before = sum(1 for at in self._gone.values() if at is not None and now - at < self._window)
        allowed = max(1, int(self._share * items))
        if len(new) + before > allowed:
            hours = self._window.total_seconds() / 3600
            raise TooManyRemovalsError(
                f"remove: {len(new):,} items, after {before:,} of the last {hours:g} hours, are more than the "
                f"{allowed:,} ({self._share:.1%} of the catalogue's {items:,}) that may go in that time; `pagoda items "
                "remove --force` does it, items.removal_share and items.removal_hours set the limit",
                beyond=new[max(0, allowed - before) :],
            )


def published_items(log: ReleaseLog) -> int:
    """How many items the stable generation was built with; 0 before the first."""
    state = log.state()
    return state.generations[state.stable].item_count if state.stable else 0
