"""What is known of one user, as the online store has it for the next request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagoda.data.spec import FeatureSpec
from pagoda.data.window import from_us
from pagoda.errors import PagodaError
from pagoda.generations.release_log import ReleaseLog
from pagoda.settings import Settings
from serving.console.titles import titles_of
from serving.http.fields import PastItem
from serving.users.forgetting import parse_user
from serving.users.keys import Key
from serving.users.online_store import OnlineStore

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True)
class KnownUser:
    """A profile, and what was done; all of it may be empty."""

    profile: dict[str, Any]
    events: Sequence[PastItem]
    """Those that the tower reads, the newest first."""
    had: int
    """Items that `exclude_seen` leaves out."""

    @property
    def empty(self) -> bool:
        """Whether nothing is known."""
        return not (self.profile or self.events or self.had)


def known_user(url: str, user: Key, spec: FeatureSpec) -> KnownUser:
    """Read a user from the online store at `url`.

    Raises:
        UnavailableError: It does not answer.
        IntegrityError: What it holds is no user.
    """

    async def read() -> KnownUser:
        store = OnlineStore(url, _PATIENCE_SECONDS)
        try:
            (stored,) = await store.read([(user, True)], spec)
        finally:
            await store.close()
        return KnownUser(stored.profile, stored.recent.rows()[::-1], len(stored.seen))

    return asyncio.run(read())


def user_page(settings: Settings, log: ReleaseLog, typed: str) -> Mapping[str, Any]:
    """What a person sees of a user; nothing where none is named, and the error where nothing can be read.

    Raises:
        UnavailableError: The release log does not answer.
    """
    shown: dict[str, Any] = {"asked": typed.strip(), "known": None, "empty": False, "untitled": "", "error": ""}
    if not shown["asked"]:
        return shown
    state = log.state()
    if state.stable is None:
        return shown | {"error": "nothing was released yet, so nothing is known of users"}
    if not settings.redis.url:
        return shown | {"error": "this installation names no online store (redis.url), so users are not seen from here"}
    manifest = state.generations[state.stable]
    try:
        known = known_user(settings.redis.url, parse_user(manifest.spec, shown["asked"]), manifest.spec)
    except PagodaError as error:
        return shown | {"error": str(error)}
    titles, why = titles_of(settings, manifest, [event["item_id"] for event in known.events])
    events = [
        {
            "item_id": event["item_id"],
            "title": titles.get(event["item_id"]),
            "event": event.get("event"),
            "at": from_us(event["timestamp"]).isoformat(),
        }
        for event in known.events
    ]
    told = {"profile": known.profile, "events": events, "had": known.had}
    return shown | {"known": told, "empty": known.empty, "untitled": why if events else ""}
