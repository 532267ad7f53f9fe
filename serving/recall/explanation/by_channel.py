"""What each channel gave to an answer, and what its pre-ranker did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pagoda.channels.merging import EXPLORE, FILLER, apart, quotas_of, shares_of
from pagoda.client.explanation import ChannelExplained, ChannelOutcome, PrerankExplained
from pagoda.generations.manifest import Mixture
from serving.http.fields import cut
from serving.recall.channels.popular import PopularChannel
from serving.recall.channels.text import TextChannel
from serving.recall.fallback.steps import POPULAR, PRERANK, TEXT, without
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Failure, Lookup


def explained_channels(live: LiveGeneration, lookup: Lookup) -> list[ChannelExplained]:
    """All that were asked: those declared, or the towers alone; what stood in for these; and words."""
    mixture = live.manifest.mixture
    names = [channel.kind for channel in mixture.channels] if mixture else [FILLER]
    names += [POPULAR] if POPULAR in lookup.degraded else []
    names += [TextChannel.name] if lookup.instance.text is not None else []
    shares, quotas = _dealt(mixture, lookup) if mixture else ({}, {})
    had = _sources(lookup, names)
    given, credited = Counter(name for each in had for name in each), Counter(each[0] for each in had if each)
    return [
        {
            "channel": name,
            "outcome": _outcome(name, lookup),
            "error": _error(lookup.failure(name)),
            "deadline_ms": _deadline_ms(mixture, name),
            "share": shares.get(name),
            "quota": quotas.get(name),
            "found": _found(name, lookup),
            "given": given[name],
            "credited": credited[name],
        }
        for name in names
    ]


def _error(failure: Failure | None) -> str | None:
    return None if failure is None else cut(failure.error)


def _deadline_ms(mixture: Mixture | None, name: str) -> float | None:
    seconds = mixture.seconds(name) if mixture else None
    return None if seconds is None else seconds * 1e3


def _outcome(name: str, lookup: Lookup) -> ChannelOutcome:
    if (failure := lookup.failure(name)) is not None:
        return "late" if failure.late else "failed"
    missing = TEXT if name == TextChannel.name else without(name)
    return "not_open" if missing in lookup.degraded else "answered"


def _dealt(mixture: Mixture, lookup: Lookup) -> tuple[dict[str, float], dict[str, float]]:
    """The share of each channel, and the places that it comes to; as `serving.recall.channels.merge` has them."""
    one = lookup.instance
    past = lookup.stored.recent.ids if one.history is None else one.history
    shares = shares_of(mixture.channels, mixture.merging, len(past))
    if mixture.merging.kind == "rrf":
        return shares, {}
    others, explored = apart(shares, EXPLORE)
    quotas: dict[str, float] = dict(quotas_of(tuple(others.items()), lookup.depth))
    return shares, {**quotas, **({EXPLORE: explored * lookup.depth} if explored else {})}


def _found(name: str, lookup: Lookup) -> int:
    if name == EXPLORE:
        return sum("propensity" in item for item in lookup.merged)
    if name in lookup.given:
        return lookup.given[name]
    return len(lookup.candidates.get(_key(name), ()))


def _sources(lookup: Lookup, names: Sequence[str]) -> list[list[str]]:
    """Of each item of the answer the channels that had it; where none are declared, by what they gave."""
    had = {name: {item["item_id"] for item in lookup.candidates.get(_key(name), ())} for name in names}
    return [
        item["channels"] if "channels" in item else [name for name in names if item["item_id"] in had[name]]
        for item in lookup.items
    ]


def _key(name: str) -> str:
    """In `Lookup.candidates`; what stands in has the name of a channel that may be declared, too."""
    return PopularChannel.name if name == POPULAR else name


def explained_prerank(live: LiveGeneration, lookup: Lookup) -> PrerankExplained | None:
    """What the pre-ranker did; None where the generation has none."""
    if live.manifest.prerank is None:
        return None
    if lookup.instance.text is not None:
        return {"outcome": "text", "scored": 0, "error": None}
    if PRERANK in lookup.degraded:
        failure = lookup.failure(PRERANK)
        if failure is None:
            return {"outcome": "not_open", "scored": 0, "error": None}
        return {"outcome": "late" if failure.late else "failed", "scored": 0, "error": _error(failure)}
    scored = len(lookup.merged) or sum(map(len, lookup.candidates.values()))
    return {"outcome": "answered", "scored": scored, "error": None}
