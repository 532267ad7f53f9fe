"""Which channels of two arms are compared: those that their manifests mean to give alike."""

from __future__ import annotations

from pagoda.channels.merging import EDITORIAL, EXPLORE, FRESH, SECOND
from pagoda.generations.manifest import Manifest, Mixture

_NEVER = {EXPLORE, FRESH, EDITORIAL, SECOND}
"""By chance, some answers have no item of what explores; how many items came lately, what editors changed, or what
another generation gives, says nothing of this one."""


def compared_channels(stable: Manifest, canary: Manifest) -> frozenset[str]:
    """Those that both arms declare alike, key by key: an answer without one speaks against its arm.

    None where lists are merged otherwise. By quotas a channel has its places whatever the others are; `rrf` gives it
    those that all lists together leave it, so there nothing of the mixtures may differ. Where one arm alone orders all
    by a pre-ranker, it merges more candidates, and answers are meant to differ.
    """
    ours, theirs = stable.mixture, canary.mixture
    if ours is None or theirs is None or ours.merging != theirs.merging:
        return frozenset()
    if (stable.prerank is None) is not (canary.prerank is None):
        return frozenset()
    if ours.merging.kind == "rrf" and _declared(ours) != _declared(theirs):
        return frozenset()
    return frozenset(one.kind for one in ours.channels if one in theirs.channels) - _NEVER


def measured_channels(stable: Manifest, canary: Manifest) -> tuple[str, ...]:
    """The compared ones whose shares of the answers are compared, too, in order of their names: where all of both
    mixtures is alike.

    In another order, or beside another channel, one is meant to give more or less; beside a second generation that only
    one arm has, as well.
    """
    if stable.mixture is None or canary.mixture is None or _declared(stable.mixture) != _declared(canary.mixture):
        return ()
    return tuple(sorted(compared_channels(stable, canary)))


def _declared(mixture: Mixture) -> Mixture:
    """A mixture by what was declared; what editors write into their lists is no declaration."""
    channels = [
        one.model_copy(update={"items": (), "lists": {}}) if one.kind == EDITORIAL else one for one in mixture.channels
    ]
    second = None if mixture.second is None else SECOND
    return mixture.model_copy(update={"channels": tuple(channels), "tables": {}, "second": second})
