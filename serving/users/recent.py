"""Entries of a user's recent behaviour, as Redis has them: `<timestamp µs>[@<event>[@<text>]]:<item>`.

The event is there where histories say it, the text where a feature reads past texts: of what was written before they
did, neither is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote, unquote

from pagoda.data.spec import PAST_CHARACTERS, FeatureSpec
from serving.http.fields import PastItems
from serving.users.keys import Key


def recent_entry(time_us: int, item: Key, event: str | None = None, text: str | None = None) -> str:
    """What `RecentReader` reads; with event and text, if they are given."""
    # Quoted, neither has a colon or an @: the first colon ends them, and an item may have others.
    head = f"{time_us}" if not (event or text) else f"{time_us}@{quote(event or '', safe='')}"
    said = f"@{quote(text[:PAST_CHARACTERS], safe='')}" if text else ""
    return f"{head}{said}:{item}"


class RecentReader:
    """Reads entries for one feature declaration."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._item: Callable[[bytes], Key] = bytes.decode if spec.id_type == "string" else int
        told = spec.history_events if spec.embeds_events else ()
        self._events = {quote(event, safe="").encode(): event for event in told}
        self._reads_texts = spec.past_text is not None

    def read(self, entries: Sequence[bytes]) -> PastItems:
        """Items, moments, and what else the declaration reads of events.

        Raises:
            ValueError: An entry is none.
        """
        if not entries:
            return PastItems()
        heads, items = zip(*[entry.split(b":", 1) for entry in entries], strict=True)
        events: tuple[str | None, ...] = ()
        texts: tuple[str | None, ...] = ()
        try:
            timestamps = tuple(map(int, heads))
        except ValueError:  # Some say more than their moment.
            moments, *told = zip(*[(*head.split(b"@"), b"", b"")[:3] for head in heads], strict=True)
            timestamps = tuple(map(int, moments))
            if self._events:
                events = tuple(map(self._events.get, told[0]))
            if self._reads_texts:
                texts = tuple(unquote(text.decode()) or None for text in told[1])
        if min(timestamps) < 0:
            raise ValueError("a moment before 1970")
        return PastItems(tuple(map(self._item, items)), timestamps, events, texts)
