"""How the candidates of several channels become one list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import filterfalse, islice
from operator import itemgetter
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
    lists = {channel: candidates[channel] for channel in shares if channel in candidates}
    weights = _by_place(lists, shares, k) if kind == "rrf" else _by_quota(lists, shares, k)
    # Asked of the answer's items alone, which are far fewer than all candidates.
    had: dict[Item, tuple[str, ...]] = dict.fromkeys(weights, ())
    for channel, items in lists.items():
        for item in had.keys() & (items.keys() if isinstance(items, Mapping) else frozenset(items)):
            had[item] += (channel,)
    return list(map(Merged._make, zip(weights, had.values(), weights.values(), strict=True)))


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
    quotas = _quotas(shares, k)
    taken: dict[Item, float] = {}
    for channel, items in candidates.items():
        # What comes first of each channel comes first of all: the n-th of a channel with quota q stands at n / q.
        own, quota = islice(filterfalse(taken.__contains__, items), quotas[channel]), quotas[channel]
        taken |= {item: (number + 0.5) / quota for number, item in enumerate(own)}
    in_turn = dict.fromkeys(sorted(taken, key=taken.__getitem__))
    if len(in_turn) < k:
        for channel in sorted(candidates, key=lambda channel: channel != FILLER):
            in_turn |= dict.fromkeys(candidates[channel])
    return {item: 1 / place for place, item in enumerate(islice(in_turn, k), 1)}


def _quotas(shares: Mapping[str, float], k: int) -> dict[str, int]:
    """Whole numbers that add up to k, each less than 1 from its share of it: largest remainders."""
    exact = {channel: share * k for channel, share in shares.items()}
    quotas = {channel: int(number) for channel, number in exact.items()}
    by_rest = sorted(exact, key=lambda channel: quotas[channel] - exact[channel])
    for channel in by_rest[: k - sum(quotas.values())]:
        quotas[channel] += 1
    return quotas
