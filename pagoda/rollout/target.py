"""What the servers must be like, read off the log."""

from __future__ import annotations

from pagoda.generations.state import ReleaseState
from pagoda.rollout.backends.base import Target
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase

_TRIED = (Phase.VERIFIED, Phase.SHADOW, Phase.CANARY)


def target_of(state: ReleaseState, capacity: int = 0) -> Target:
    """What must be true of the servers now.

    Args:
        state: The log.
        capacity: What the next step needs of the candidate, in percent, if that is more than it has a share of.
    """
    rollout = rollout_of(state)
    named = [id_ for id_ in (state.arms.stable, state.arms.canary) if id_]
    if rollout is not None and rollout.active:
        named += [id_ for id_ in (rollout.candidate, rollout.previous) if id_ and id_ not in state.retired]
    stable = state.generations[state.arms.stable] if state.arms.stable else None
    if rollout is None or rollout.phase not in _TRIED or rollout.superseded:
        # What has not passed its offline gates takes no memory yet.
        unready = rollout.candidate if rollout and rollout.phase is Phase.REGISTERED else None
        held = [id_ for id_ in dict.fromkeys(named) if id_ not in (state.arms.stable, unready)]
        return Target(state.head, stable, held=tuple(state.generations[id_] for id_ in held))
    candidate = state.generations[rollout.candidate]
    percent = rollout.percent if rollout.phase is Phase.CANARY else 0
    return Target(state.head, stable, candidate, percent, max(capacity, rollout.percent))
