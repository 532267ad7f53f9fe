"""Where the candidates of an answer come from: the sections `channels` and `merging` of the training file.

A channel of a new kind is a section here and a line in `ChannelConfig`, a module in `pagoda/channels/` and a line in
its factory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pagoda.config.model import Section

_ROUNDING = 1e-6
Part = Annotated[float, Field(ge=0, le=1)]


class _Channel(Section):
    share: Part
    """Of an answer's items; those of all channels add up to 1."""
    cold_share: Part | None = None
    """Of the items of a user who did nothing yet; see `merging.known_after`. All channels have one, or none has."""


class TwoTowers(_Channel):
    """The items whose vectors are nearest to the user's. It fills the places that others leave."""

    kind: Literal["two_tower"] = "two_tower"


class ItemToItem(_Channel):
    """Items that the users of the user's last items chose too."""

    kind: Literal["item_to_item"] = "item_to_item"
    method: Literal["swing", "item_cf"] = "swing"
    """`swing`: by pairs of users who share both items, less those who share much (Yang et al. 2020, arXiv 2010.05525,
    section 3.1). `item_cf`: the cosine of the items' users (Sarwar et al., WWW 2001)."""
    days: PositiveFloat = 30.0
    """Positives up to the window's end that it learns from."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 10
    """Last items of a user that are looked at."""
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 100
    """Of each item, the nearest that are kept."""
    half_life_days: PositiveFloat = 7.0
    """How much older than the newest an item of the history is that counts half as much."""


class Popular(_Channel):
    """The items that were chosen most often, by everyone or by those in a like situation."""

    kind: Literal["popular"] = "popular"
    days: PositiveFloat = 7.0
    """Positives up to the window's end that are counted."""
    by: str | None = None
    """`hour`: of the day, UTC; or a categorical feature of the context or of users: a list for each value. None: one
    list for all."""
    kept: Annotated[int, Field(ge=1, le=20_000)] = 2000
    """Items of a list."""


class Category(_Channel):
    """The best items of the categories that a user's last items have most."""

    kind: Literal["category"] = "category"
    by: str
    """The categorical or multi-valued feature of items that says which."""
    days: PositiveFloat = 7.0
    """Positives up to the window's end that are counted."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 50
    """Last items of a user that are looked at."""
    categories: PositiveInt = 3
    """Of a user, the commonest."""
    kept: Annotated[int, Field(ge=1, le=2000)] = 200
    """Items of a category."""


class Fresh(_Channel):
    """The items that came last, those chosen most often among them first."""

    kind: Literal["fresh"] = "fresh"
    days: PositiveFloat = 7.0
    """Since its first interaction; an item without any came after the window."""
    kept: Annotated[int, Field(ge=1, le=20_000)] = 2000
    """The newest items that are kept."""


class Explore(_Channel):
    """New items in a part of the places, chosen by chance, so that what they are worth comes to be known."""

    kind: Literal["explore"] = "explore"
    share: Annotated[float, Field(ge=0, le=0.5)]
    """ε: of k places ⌊εk⌋, and one more with the probability of the rest, whatever the others' items are."""
    cold_share: Annotated[float, Field(ge=0, le=0.5)] | None = None
    method: Literal["thompson", "epsilon"] = "thompson"
    """`thompson`: the highest draws of what is believed of each one's click rate (Chapelle & Li, NIPS 2011). `epsilon`:
    each with the same probability."""
    days: PositiveFloat = 7.0
    """Since its first interaction; an item without any came after the window."""
    clicks: PositiveInt = 100
    """Positives from which on an item is no more explored."""
    prior: PositiveFloat = 20.0
    """κ: impressions' worth of the catalogue's click rate that is believed of an item before it is shown."""
    nearest: Annotated[int, Field(ge=1, le=2000)] = 200
    """New items among which is chosen, those whose vectors are nearest to the user's."""
    kept: Annotated[int, Field(ge=1, le=5000)] = 2000
    """The newest items that are kept."""


ChannelConfig = Annotated[TwoTowers | ItemToItem | Popular | Category | Fresh | Explore, Field(discriminator="kind")]
_SECTIONS = get_args(get_args(ChannelConfig)[0])
CHANNEL_NAMES: tuple[str, ...] = (*(section.model_fields["kind"].default for section in _SECTIONS), "text")
"""What an item of an answer may have among its `channels`: those that are declared, and what a request's text finds."""


class MergingConfig(Section):
    """How the candidates of several channels become one answer."""

    kind: Literal["quota", "rrf"] = "quota"
    """`quota`: of each channel the best for its share of the answer, in turn; an item that several have counts for the
    first declared. `rrf`: by Σ share / (60 + place) over channels (Cormack et al., SIGIR 2009)."""
    known_after: NonNegativeFloat = 20.0
    """n past items of a user move n / (n + this) of the way from `cold_share` to `share`."""


def refuse_mixture(channels: Sequence[ChannelConfig]) -> None:
    """Raise ValueError for channels that are no whole; none are one."""
    if not channels:
        return
    kinds = Counter(channel.kind for channel in channels)
    if twice := [kind for kind, count in kinds.items() if count > 1]:
        raise ValueError(f"channels hold {twice[0]} more than once; declare each kind once")
    if "two_tower" not in kinds:
        raise ValueError("channels lack two_tower, which fills what others leave; declare {kind: two_tower, share: …}")
    _refuse_sum("share", [channel.share for channel in channels])
    cold = [channel.cold_share for channel in channels if channel.cold_share is not None]
    if cold and len(cold) < len(channels):
        missing = next(channel.kind for channel in channels if channel.cold_share is None)
        raise ValueError(f"channels: {missing} has no cold_share, and others have one; give all of them one, or none")
    if cold:
        _refuse_sum("cold_share", cold)


def _refuse_sum(name: str, shares: Sequence[float]) -> None:
    if abs(sum(shares) - 1) > _ROUNDING:
        raise ValueError(f"channels: {name} adds up to {sum(shares):g}, and must to 1")
