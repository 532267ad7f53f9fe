"""Which generations hosts must hold: what serves, what a rollback needs, and what is about to serve."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pagoda.generations.state import ReleaseState

GRACE = timedelta(hours=1)
"""How long a generation stays loaded after it served or was asked for."""


def live(state: ReleaseState, now: datetime, grace: timedelta = GRACE) -> tuple[str, ...]:
    """IDs of the live generations, the most needed first.

    Args:
        state: What the log says.
        now: The present.
        grace: How long a generation stays live after it left its arm, or was offered.

    Live is every arm; whatever was one within the grace (invariant 6); the generation before the stable one if it has
    the same full version, since that costs one segment; what was offered within the grace; and what a channel of any of
    these asks.
    """
    since = now - grace
    offered = sorted((at, id_) for id_, at in state.offers.items() if at >= since)
    wanted = [*state.arms.serving, *_left_since(state, since), *(id_ for _, id_ in reversed(offered))]
    if state.stable and state.previous and _full(state, state.previous) == _full(state, state.stable):
        wanted.append(state.previous)
    return tuple(id_ for id_ in dict.fromkeys([*wanted, *seconds(state, wanted)]) if id_ not in state.retired)


def seconds(state: ReleaseState, ids: Iterable[str]) -> list[str]:
    """The generations that channels of some generations ask."""
    return [second for id_ in ids if (second := state.generations[id_].second)]


def _left_since(state: ReleaseState, since: datetime) -> list[str]:
    """Generations that answered an arm at some moment after `since`, latest first."""
    found: list[str] = []
    for release in reversed(state.releases):
        found += release.arms.serving
        if release.at < since:  # These arms were in force at `since`; earlier ones were not.
            break
    return found


def _full(state: ReleaseState, id_: str) -> int:
    return state.generations[id_].full_version
