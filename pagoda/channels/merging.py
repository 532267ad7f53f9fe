"""How the candidates of several channels become one list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import count, filterfalse, islice, repeat
from operator import itemgetter, truediv
from typing import NamedTuple, TypeVar

from pagoda.config.channels import ChannelConfig, MergingConfig

RRF = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009: what is first counts little more than what is second."""
FILLER = "two_tower"
"""The channel that gives what the others' quotas leave."""
EXPLORE = "explore"
"""The channel whose items chance puts between those of all others."""
FRESH = "fresh"
"""The channel whose items came last."""
EDITORIAL = "editorial"
"""The channel whose items people chose."""
SECOND = "second_generation"
"""The channel that asks another generation."""
_SPARE = 10
"""Candidates of a channel that are looked at beyond twice its places."""
Item = int | str
T = TypeVar("T")
Lists = Mapping[str, Collection[Item]]


class Merged(NamedTuple):
    """One item of an answer, in the answer's order."""

    item: Item
    channels: tuple[str, ...]
    """All that had it among their candidates, in the order declared."""
    weight: float
    """Of rrf: the sum; of quota: 1 / place."""


def shares_of(channels: Sequence[ChannelConfig], merging: MergingConfig, past: int) -> dict[str, float]:
    """The share of each channel in the answer for a user with so many `past` items; they add up to 1."""
    if channels[0].cold_share is None:
        return {channel.kind: channel.share for channel in channels}
    known = past / (past + merging.known_after) if past or merging.known_after else 0.0
    return {channel.kind: known * channel.share + (1 - known) * (channel.cold_share or 0.0) for channel in channels}


def merged(candidates: Lists, shares: Mapping[str, float], kind: str, k: int) -> list[Merged]:
    """The answer: up to k distinct items.

    Args:
        candidates: By channel, each best first and distinct (a mapping: its keys); one that gave nothing may lack.
        shares: By channel, in the order declared; what one cannot give goes to the others, the towers first.
        kind: As of `MergingConfig.kind`.
        k: Of the answer.
    """
    weights, channels = weighed(candidates, shares, kind, k)
    return list(map(Merged, weights, channels, weights.values()))


def weighed(
    candidates: Lists, shares: Mapping[str, float], kind: str, k: int
) -> tuple[dict[Item, float], list[tuple[str, ...]]]:
    """The same column by column: items with their weights, and of each its channels."""
    lists = {channel: candidates[channel] for channel in shares if channel in candidates}
    weights = _by_place(lists, shares, k) if kind == "rrf" else _by_quota(lists, shares, k)
    return weights, _channels_of(weights, lists)


def _channels_of(items: Mapping[Item, float], lists: Lists) -> list[tuple[str, ...]]:
    """Of each item the channels that have it."""
    first: dict[Item, tuple[str, ...]] = {}
    several: set[Item] = set()  # Few, so these alone are looked for in all lists.
    for channel, own in lists.items():
        there = items.keys() & own
        several |= first.keys() & there
        first |= dict.fromkeys(there, (channel,))
    for item in several:
        first[item] = tuple([channel for channel, own in lists.items() if item in own])
    return list(map(first.__getitem__, items))


def depths_of(shares: Mapping[str, float], kind: str, k: int) -> Mapping[str, int]:
    """How many candidates of each channel are looked at for an answer of k items.

    Those of the towers, which fill what others leave, as many as may be wanted. Under `quota`, of each other channel
    twice its places and ten: some of its items have been taken by others.
    """
    return dict.fromkeys(shares, k) if kind == "rrf" else _depths(tuple(shares.items()), k)


def looked_at(candidates: Lists, shares: Mapping[str, float], kind: str, k: int) -> Lists:
    """The candidates that an answer of k items looks at; all, where the towers, which would fill it, do not answer.

    Who asks for no more than `depths_of` merges what this leaves.
    """
    if FILLER not in candidates:
        return candidates
    depths = depths_of(shares, kind, k)
    return {channel: list(islice(items, depths.get(channel))) for channel, items in candidates.items()}


def apart(shares: Mapping[str, float], channel: str) -> tuple[dict[str, float], float]:
    """The shares of all others, as of a whole, and that of `channel`; 0 where it has none. It must not be the whole."""
    own = shares.get(channel, 0.0)
    return {name: share / (1 - own) for name, share in shares.items() if name != channel}, own


def spread(items: Sequence[T], among: Sequence[T], k: int) -> list[T]:
    """The first of `items` with all of `among`, which has at most k, at even distances between them: k at most."""
    kept = items[: k - len(among)]
    total = len(kept) + len(among)
    placed = {int((number + 0.5) * total / len(among)): item for number, item in enumerate(among)}
    others = iter(kept)
    return [placed[place] if place in placed else next(others) for place in range(total)]


def _by_place(candidates: Lists, shares: Mapping[str, float], k: int) -> dict[Item, float]:
    sums: defaultdict[Item, float] = defaultdict(float)
    for channel, items in candidates.items():
        for place, item in enumerate(items, 1):
            sums[item] += shares[channel] / (RRF + place)
    return dict(sorted(sums.items(), key=itemgetter(1), reverse=True)[:k])


def _by_quota(candidates: Lists, shares: Mapping[str, float], k: int) -> dict[Item, float]:
    quotas = quotas_of(tuple(shares.items()), k)
    taken: dict[Item, None] = {}
    numbers: list[tuple[int, int]] = []
    for channel, items in candidates.items():
        before = len(taken)
        taken |= dict.fromkeys(islice(filterfalse(taken.__contains__, items), quotas[channel]))
        numbers.append((len(taken) - before, quotas[channel]))
    own = list(taken)
    in_turn = dict.fromkeys(map(own.__getitem__, _turns(tuple(numbers))))
    if len(in_turn) < k:
        for channel in sorted(candidates, key=lambda channel: channel != FILLER):
            in_turn |= dict.fromkeys(candidates[channel])
    return dict(zip(islice(in_turn, k), map(truediv, repeat(1), count(1)), strict=False))


@lru_cache(1024)  # Most answers have the same.
def _turns(numbers: tuple[tuple[int, int], ...]) -> list[int]:
    """The order of what channels have, one channel's after another's: so many of each, and its quota.

    What comes first of each comes first of all: the n-th of a channel with quota q stands at n / q.
    """
    stand = [(number + 0.5) / quota for own, quota in numbers for number in range(own)]
    return sorted(range(len(stand)), key=stand.__getitem__)


@lru_cache(1024)
def _depths(shares: tuple[tuple[str, float], ...], k: int) -> Mapping[str, int]:
    quotas = quotas_of(shares, k)
    return {channel: k if channel == FILLER else min(2 * quota + _SPARE, k) for channel, quota in quotas.items()}


@lru_cache(1024)
def quotas_of(shares: tuple[tuple[str, float], ...], k: int) -> Mapping[str, int]:
    """Whole numbers that add up to k, each less than 1 from its share of it: largest remainders."""
    exact = {channel: share * k for channel, share in shares}
    quotas = {channel: int(number) for channel, number in exact.items()}
    by_rest = sorted(exact, key=lambda channel: quotas[channel] - exact[channel])
    for channel in by_rest[: k - sum(quotas.values())]:
        quotas[channel] += 1
    return quotas
