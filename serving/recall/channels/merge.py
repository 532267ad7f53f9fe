"""What the candidates of several channels become: one answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from pagoda.channels.merging import EXPLORE, RRF, apart, depths_of, shares_of, spread, weighed
from pagoda.config.channels import MergingConfig
from pagoda.errors import UnavailableError
from serving.http.deadlines import LateError, within
from serving.recall.api import RecalledItem
from serving.recall.channels.base import Channel
from serving.recall.channels.exploration import Exploration
from serving.recall.channels.tables import Found, TableChannels
from serving.recall.fallback.steps import TEXT, without
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.users.keys import Key

T = TypeVar("T")
NO_TABLES = TableChannels()
_TURNS = 3
"""Of the event loop, until a call is under way: one asks, one joins what is asked, one calls."""


async def merge(
    channels: Sequence[Channel],
    live: LiveGeneration,
    lookup: Lookup,
    tables: TableChannels = NO_TABLES,
    text: Channel | None = None,
    *,
    exploration: Exploration | None = None,
    second: Channel | None = None,
    deadlines: bool = True,
) -> None:
    """Fill in a user's items: what answers, and what a request's text finds beside it.

    What answers is the first of `channels` that does, or where the generation declares channels, these together.

    Args:
        channels: One at least, the towers' first, in the order in which they are asked; the ones after it are not.
        live: The generation that answers.
        lookup: The user, after the tower's stage.
        tables: Those that a generation declares beside the towers.
        text: Searches words; where it does not answer, the others' items are the answer, which says so.
        exploration: Puts new items among them, where a generation explores and the request has no text, whose merging
            knows no probabilities.
        second: Asks another generation, where this one declares that.
        deadlines: Whether those hold that the generation declares for channels.

    Raises:
        UnavailableError: No channel answers; why the first one does not.
    """
    if lookup.instance.text is None:
        await _found(channels, live, lookup, tables, exploration, second=second, deadlines=deadlines)
        return
    # What fails leaves nothing under way that nobody waits for.
    found = _found(channels, live, lookup, tables, None, second=second, deadlines=deadlines)
    ends = await asyncio.gather(found, _beside(text, live, lookup), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    if text and text.name in lookup.candidates:
        weigh = _by_score if lookup.instance.merge == "sum" else _by_place
        words = lookup.candidates[text.name]
        if live.manifest.mixture:
            words = _from_text(lookup.items, words, text.name)
        lookup.items = _sums([lookup.items, words], weigh)
    else:  # Said here, so that answers say it in one order, whichever of the two failed first.
        lookup.degraded.append(TEXT)
    lookup.items = lookup.items[: lookup.instance.k]


async def _found(
    channels: Sequence[Channel],
    live: LiveGeneration,
    lookup: Lookup,
    tables: TableChannels,
    exploration: Exploration | None,
    *,
    second: Channel | None,
    deadlines: bool,
) -> None:
    mixture = live.manifest.mixture
    if mixture is None:
        await _first(channels, live, lookup)
        return
    past = lookup.stored.recent.ids if lookup.instance.history is None else lookup.instance.history
    shares, budget = apart(shares_of(mixture.channels, mixture.merging, len(past)), EXPLORE)
    budget = budget if lookup.instance.text is None else 0.0
    depths = depths_of(shares, mixture.merging.kind, lookup.depth)
    asked = channels[:1]
    if second and any(channel.kind == second.name for channel in mixture.channels):
        asked = (*asked, second)
    limits = [mixture.seconds(channel.name) if deadlines else None for channel in asked]
    # What is computed here is computed while servers are waited for.
    async with _begun(_ask(asked, limits, live, lookup)) as asking:
        lists = await tables.candidates(live, lookup, depths)
        near = await exploration.near(live, lookup) if exploration and budget else None
        error, theirs = await asking
    if error:
        if not any((*theirs.values(), *lists.values())):
            await _in_place(error, channels[1:], live, lookup)
            return
        if len(channels) == 1:  # Nothing may stand in.
            raise error
        # What the towers would have filled, the others do, as far down as their lists go.
        lists = await tables.candidates(live, lookup, dict.fromkeys(shares, lookup.depth))
    lists |= theirs
    lookup.given = {channel: len(found) for channel, found in lists.items()}
    mixed = _mixed(lists, shares, mixture.merging, lookup.depth)
    lookup.items = list(mixed.values())
    if budget:
        new = await exploration.chosen(live, lookup, near, budget, mixed.keys()) if exploration and near else None
        if new is None:
            lookup.degraded.append(without(EXPLORE))
        elif new:
            lookup.items = spread(lookup.items, new, lookup.depth)
    lookup.merged = lookup.items
    lookup.degraded += [without(channel) for channel in shares if channel not in lists]


@asynccontextmanager
async def _begun(asking: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Ask what waits for servers; the block begins when their calls are under way, and leaves nothing behind."""
    task = asyncio.create_task(asking)
    try:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        yield task
    finally:
        task.cancel()


async def _ask(
    channels: Sequence[Channel], limits: Sequence[float | None], live: LiveGeneration, lookup: Lookup
) -> tuple[UnavailableError | None, Found]:
    """Ask channels that wait for servers, all at once.

    Returns:
        Why the first one gave nothing (None: it did), and what each gives within its limit.
    """
    lists: Found = {}
    asks = [_in_time(*one, live, lookup) for one in zip(channels, limits, strict=True)]
    # What fails leaves nothing under way that nobody waits for; one alone needs no task.
    ends = [await asks[0]] if len(asks) == 1 else await asyncio.gather(*asks, return_exceptions=True)
    for channel, end in zip(channels, ends, strict=True):
        if isinstance(end, UnavailableError):
            _note(lookup, channel, end)
            continue
        if isinstance(end, BaseException):
            raise end
        lookup.candidates[channel.name] = end
        lists[channel.name] = {item["item_id"]: item["score"] for item in end}
    return ends[0] if isinstance(ends[0], UnavailableError) else None, lists


async def _in_time(
    channel: Channel, seconds: float | None, live: LiveGeneration, lookup: Lookup
) -> list[RecalledItem] | UnavailableError:
    try:
        with within(seconds):
            return await channel.candidates(live, lookup)
    except UnavailableError as error:
        return error


def _mixed(
    lists: Mapping[str, Mapping[Key, float]], shares: Mapping[str, float], merging: MergingConfig, k: int
) -> dict[Key, RecalledItem]:
    """The declared channels' candidates as one list, each item with the score of the first that has it."""
    (weights, channels), by_sum = weighed(lists, shares, merging.kind, k), merging.kind == "rrf"
    return {
        item: {"item_id": item, "score": weight if by_sum else lists[names[0]][item], "channels": list(names)}
        for (item, weight), names in zip(weights.items(), channels, strict=True)
    }


async def _first(channels: Sequence[Channel], live: LiveGeneration, lookup: Lookup) -> None:
    channel = channels[0]
    try:
        found = await channel.candidates(live, lookup)
    except UnavailableError as error:
        _note(lookup, channel, error)
        await _in_place(error, channels[1:], live, lookup)
        return
    lookup.candidates[channel.name] = lookup.items = found
    if channel.stands_in:
        lookup.degraded.append(channel.stands_in)


async def _in_place(error: UnavailableError, channels: Sequence[Channel], live: LiveGeneration, lookup: Lookup) -> None:
    """What stands in for a channel that had this error, which is raised where nothing does."""
    if channels:
        with suppress(UnavailableError):
            await _first(channels, live, lookup)
            return
    raise error


async def _beside(text: Channel | None, live: LiveGeneration, lookup: Lookup) -> None:
    """Fill in what the text finds, where that can be known."""
    if text is not None:  # Else this index searches no words.
        try:
            lookup.candidates[text.name] = await text.candidates(live, lookup)
        except UnavailableError as error:
            _note(lookup, text, error)


def _note(lookup: Lookup, channel: Channel, error: UnavailableError) -> None:
    # A channel that asks another generation says so of what that one's servers said.
    late = isinstance(error, LateError) or isinstance(error.__cause__, LateError)
    lookup.fail(channel.name, str(error), late=late)


def _from_text(items: Sequence[RecalledItem], words: Sequence[RecalledItem], name: str) -> list[RecalledItem]:
    """What a text found, with where else it comes from; and the items found elsewhere too say that they match it."""
    elsewhere = {item["item_id"]: item for item in items}
    told: list[RecalledItem] = []
    for found in words:
        names = [name]
        if (there := elsewhere.get(found["item_id"])) is not None:
            there["channels"] = names = [*there.get("channels", ()), name]
        told.append({**found, "channels": names})
    return told


def _by_place(items: Sequence[RecalledItem]) -> dict[Key, float]:
    return {item["item_id"]: 1 / (RRF + place) for place, item in enumerate(items, 1)}


def _by_score(items: Sequence[RecalledItem]) -> dict[Key, float]:
    """From 0 for the last to 1 for the first; 1 for all where they are the same."""
    scores = [item["score"] for item in items]
    least, span = min(scores, default=0.0), max(scores, default=0.0) - min(scores, default=0.0)
    return {item["item_id"]: (item["score"] - least) / span if span else 1.0 for item in items}


def _sums(
    lists: Sequence[Sequence[RecalledItem]], weigh: Callable[[Sequence[RecalledItem]], Mapping[Key, float]]
) -> list[RecalledItem]:
    """Items of all lists by falling sum of what they have in each; of equal ones that of the first list first."""
    sums: defaultdict[Key, float] = defaultdict(float)
    for one in lists:
        for item, score in weigh(one).items():
            sums[item] += score
    first = {item["item_id"]: item for one in reversed(lists) for item in one}
    return [_scored(first[item], score) for item, score in sorted(sums.items(), key=lambda it: -it[1])]


def _scored(item: RecalledItem, score: float) -> RecalledItem:
    item["score"] = score
    return item
