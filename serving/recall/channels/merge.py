"""What the candidates of several channels become: one answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pagoda.errors import UnavailableError
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.fallback.steps import TEXT
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.users.keys import Key

_RRF = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009: what is first counts little more than what is second."""


async def merge(channels: Sequence[Channel], live: LiveGeneration, lookup: Lookup, text: Channel | None = None) -> None:
    """Fill in a user's items: those of the first channel that answers, and what a request's text finds beside them.

    Args:
        channels: One at least, in the order in which they are asked; the ones after it are not.
        live: The generation that answers.
        lookup: The user, after the tower's stage.
        text: Searches words; where it does not answer, the others' items are the answer, which says so.

    Raises:
        UnavailableError: No channel answers; why the first one does not.
    """
    if lookup.instance.text is None:
        await _first(channels, live, lookup)
        return
    # What fails leaves nothing under way that nobody waits for.
    ends = await asyncio.gather(_first(channels, live, lookup), _beside(text, live, lookup), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    if text and text.name in lookup.candidates:
        weigh = _by_score if lookup.instance.merge == "sum" else _by_place
        lookup.items = _sums([weigh(lookup.items), weigh(lookup.candidates[text.name])])
    else:  # Said here, so that answers say it in one order, whichever of the two failed first.
        lookup.degraded.append(TEXT)
    lookup.items = lookup.items[: lookup.instance.k]


async def _first(channels: Sequence[Channel], live: LiveGeneration, lookup: Lookup) -> None:
    channel = channels[0]
    try:
        found = await channel.candidates(live, lookup)
    except UnavailableError:
        if len(channels) > 1:
            with suppress(UnavailableError):
                await _first(channels[1:], live, lookup)
                return
        raise
    lookup.candidates[channel.name] = lookup.items = found
    if channel.stands_in:
        lookup.degraded.append(channel.stands_in)


async def _beside(text: Channel | None, live: LiveGeneration, lookup: Lookup) -> None:
    """Fill in what the text finds, where that can be known."""
    if text is not None:  # Else this index searches no words.
        with suppress(UnavailableError):
            lookup.candidates[text.name] = await text.candidates(live, lookup)


def _by_place(items: Sequence[RecalledItem]) -> dict[Key, float]:
    return {item["item_id"]: 1 / (_RRF + place) for place, item in enumerate(items, 1)}


def _by_score(items: Sequence[RecalledItem]) -> dict[Key, float]:
    """From 0 for the last to 1 for the first; 1 for all where they are the same."""
    scores = [item["score"] for item in items]
    least, span = min(scores, default=0.0), max(scores, default=0.0) - min(scores, default=0.0)
    return {item["item_id"]: (item["score"] - least) / span if span else 1.0 for item in items}


def _sums(lists: Sequence[Mapping[Key, float]]) -> list[RecalledItem]:
    """Items of all lists by falling sum of what they have in each; of equal ones that of the first list first."""
    sums: defaultdict[Key, float] = defaultdict(float)
    for one in lists:
        for item, score in one.items():
            sums[item] += score
    return [{"item_id": item, "score": score} for item, score in sorted(sums.items(), key=lambda it: -it[1])]
