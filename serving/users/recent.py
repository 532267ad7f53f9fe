"""Entries of a user's recent behaviour, as Redis has them: `<timestamp µs>[@<event>[@<text>]]:<item>`.

The event is there where histories say it, the text where a feature reads past texts: of what was written before they
did, neither is known. An event is quoted as in URLs; of a text only what would end it is: quoted whole, letters beyond
ASCII would take three times the memory, and the texts of one user many milliseconds to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

from pagoda.data.spec import PAST_CHARACTERS, FeatureSpec
from serving.http.fields import PastItems
from serving.users.keys import Key


def recent_entry(time_us: int, item: Key, event: str | None = None, text: str | None = None) -> str:
    """What `RecentReader` reads; with event and text, if they are given."""
    # Neither has a colon, and the event no @: the first colon ends them, and text and item may have others of these.
    head = f"{time_us}" if not (event or text) else f"{time_us}@{quote(event or '', safe='')}"
    said = f"@{text[:PAST_CHARACTERS].replace('%', '%25').replace(':', '%3A')}" if text else ""
    return f"{head}{said}:{item}"


def _said(text: bytes) -> str | None:
    """The text of an entry; None for none."""
    return text.decode().replace("%3A", ":").replace("%25", "%") or None


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
            moments, *told = zip(*[(*head.split(b"@", 2), b"", b"")[:3] for head in heads], strict=True)
            timestamps = tuple(map(int, moments))
            if self._events:
                events = tuple(map(self._events.get, told[0]))
            if self._reads_texts:
                texts = tuple(map(_said, told[1]))
        if min(timestamps) < 0:
            raise ValueError("a moment before 1970")
        return PastItems(tuple(map(self._item, items)), timestamps, events, texts)
