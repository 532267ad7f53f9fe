"""Entries of a user's recent behaviour, as Redis has them: `<timestamp µs>:<item>`, or `<timestamp µs>@<event>:<item>`.

The event is there where histories say it; of what was written before they did, it is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from pagoda.data.spec import FeatureSpec
from serving.http.fields import PastItems
from serving.users.keys import Key


def recent_entry(time_us: int, item: Key, event: str | None = None) -> str:
    """What `read_recent` reads; with the event, if one is given."""
    # Quoted, no event has a colon: the first one ends it, and an item may have others.
    return f"{time_us}:{item}" if event is None else f"{time_us}@{quote(event, safe='')}:{item}"


class RecentReader:
    """Reads entries for one feature declaration."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._item: Callable[[bytes], Key] = bytes.decode if spec.id_type == "string" else int
        told = spec.history_events if spec.embeds_events else ()
        self._events = {quote(event, safe="").encode(): event for event in told}

    def read(self, entries: Sequence[bytes]) -> PastItems:
        """Items, moments, and where histories say them, events.

        Raises:
            ValueError: An entry is none.
        """
        if not entries:
            return PastItems()
        heads, items = zip(*[entry.split(b":", 1) for entry in entries], strict=True)
        events: tuple[str | None, ...] = ()
        try:
            timestamps = tuple(map(int, heads))
        except ValueError:  # Some name their event.
            parts = [head.partition(b"@") for head in heads]
            timestamps = tuple(int(part[0]) for part in parts)
            if self._events:
                events = tuple(self._events.get(part[2]) for part in parts)
        if min(timestamps) < 0:
            raise ValueError("a moment before 1970")
        return PastItems(tuple(map(self._item, items)), timestamps, events)
