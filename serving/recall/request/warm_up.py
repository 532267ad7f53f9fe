"""Real requests through a generation that is about to serve."""

from __future__ import annotations

from dataclasses import replace

from pagoda.errors import UnavailableError
from serving.recall.api import RecallInstance
from serving.recall.fallback.steps import OF_NO_SERVER, OF_THE_STORE, PRERANK
from serving.recall.generations.follower import Generations
from serving.recall.generations.generation import LiveGeneration
from serving.recall.request.answer import answer_by
from serving.recall.request.parts import Parts
from serving.users.keys import Key

WARM_UP = "warm-up"
"""Stands for the arm in the metrics of warm-up requests."""
WARM_AGAIN_SECONDS = 10.0
_WARM_UPS = 3
_MAY_STAND_IN = OF_THE_STORE | OF_NO_SERVER | {PRERANK}


async def warm_up(live: LiveGeneration, parts: Parts) -> None:
    """Send real requests through every part of a generation, then get ready what may stand in for one of them.

    The online store may be down: what stands in for it stands in for any user. So may a pre-ranker's files be gone, or
    it be late at first, or a channel's table be damaged: a process that starts anew is no worse than its peers. Tower
    and index must answer, however late: a first search takes longest.

    Raises:
        PagodaError: One was not answered, or with no item.
    """
    await parts.preranking.warm(live)
    await _open_channels(live, parts)
    user: Key = "warm-up" if live.spec.id_type == "string" else 0
    asked = RecallInstance(user_id=user, exclude_seen=True)
    patient = replace(parts, deadlines=False)
    for _ in range(_WARM_UPS):
        (prediction,) = await answer_by(live, WARM_UP, patient, [live.begin(asked, WARM_UP)])
        if missing := [step for step in prediction["degraded"] if step not in _MAY_STAND_IN]:
            raise UnavailableError(f"generation {live.id}: not warm, {', '.join(missing)} stood in")
        if not prediction["items"]:
            raise UnavailableError(f"generation {live.id}: collection {live.manifest.collection} is empty")
    if parts.fallback is not None:
        await parts.fallback.warm(live, parts.tower)
    await _get_ready(live, parts)


async def warm_again(generations: Generations, parts: Parts) -> None:
    """Get ready what could not be when a generation was warmed up: a store that did not answer then may do so now."""
    if generations.ready:
        for live in generations.require().generations.values():
            await _get_ready(live, parts)


async def _open_channels(live: LiveGeneration, parts: Parts) -> None:
    await parts.tables.warm(live)
    if parts.exploration is not None:
        await parts.exploration.warm(live)
    if parts.second is not None:
        await parts.second.warm(live)


async def _get_ready(live: LiveGeneration, parts: Parts) -> None:
    """What a generation can serve without, but should not for long."""
    await parts.item_values.warm(live)
    await parts.preranking.warm(live)
    await parts.onboarding.warm(live)
    await _open_channels(live, parts)
    for channel in (*parts.channels, *([parts.text] if parts.text else [])):
        await channel.warm(live)
