"""What is known of one user, as the online store has it for the next request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pagoda.data.spec import FeatureSpec
from serving.http.fields import PastItem
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
