"""Where the candidates of an answer come from: the sections `channels` and `merging` of the training file.

A channel of a new kind is a section here and a line in `ChannelConfig`, a module in `pagoda/channels/` and a line in
its factory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    StrictInt,
    StrictStr,
    model_validator,
)

from pagoda.config.model import Section

_ROUNDING = 1e-6
_MOST_WRITTEN = 5_000
Part = Annotated[float, Field(ge=0, le=1)]


class _Channel(Section):
    share: Part
    """Of an answer's items; those of all channels add up to 1."""
    cold_share: Part | None = None
    """Of the items of a user who did nothing yet; see `merging.known_after`. All channels have one, or none has."""


class _Asking(_Channel):
    """One that asks servers. No other has to be waited for, so none has such a key."""

    seconds: PositiveFloat | None = Field(default=None, exclude_if=lambda seconds: seconds is None)
    """That an answer waits for its items; what is later is left out. None: as long as servers may take."""


class TwoTowers(_Asking):
    """The items whose vectors are nearest to the user's. It fills the places that others leave."""

    kind: Literal["two_tower"] = "two_tower"


class SecondGeneration(_Asking):
    """The items that are nearest by the towers of the generation that was stable when this one was made."""

    kind: Literal["second_generation"] = "second_generation"


class ItemToItem(_Channel):
    """Items that go with the user's last items."""

    kind: Literal["item_to_item"] = "item_to_item"
    method: Literal["swing", "item_cf", "vectors"] = "swing"
    """`swing`: by pairs of users who share both items, less those who share much (Yang et al. 2020, arXiv 2010.05525,
    section 3.1). `item_cf`: the cosine of the items' users (Sarwar et al., WWW 2001). `vectors`: the cosine of the
    vectors that the version's item tower gives."""
    days: PositiveFloat = 30.0
    """Positives up to the window's end that it learns from; not those of `vectors`."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 10
    """Last items of a user that are looked at."""
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 100
    """Of each item, the nearest that are kept."""
    half_life_days: PositiveFloat = 7.0
    """How much older than the newest an item of the history is that counts half as much."""

    @model_validator(mode="after")
    def _refuse_days(self) -> Self:
        # The default stands in every configuration that was written whole, so it says nothing.
        if self.method == "vectors" and self.days != type(self).model_fields["days"].default:
            raise ValueError(f"days is {self.days:g}, and method: vectors reads no positives; leave days out")
        return self


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


def _as_word(key: object) -> object:
    """A key of YAML as the towers read a value: 8 is the word 8."""
    if isinstance(key, bool):
        raise ValueError("YAML reads no, NO, off, yes and on without quotes as true or false; put it in quotes")
    return str(key) if isinstance(key, int) else key


def _refuse_twice(items: WrittenList) -> WrittenList:
    if twice := [item for item, count in Counter(items).items() if count > 1]:
        raise ValueError(f"names {twice[0]!r} more than once; name each item once")
    return items


_INT64 = 1 << 63
_Int64 = Annotated[StrictInt, Field(ge=-_INT64, lt=_INT64)]
WrittenList = tuple[_Int64 | StrictStr, ...]
"""Items as callers know them, the first one first."""
_Word = Annotated[str, BeforeValidator(_as_word)]
_List = Annotated[WrittenList, Field(min_length=1), AfterValidator(_refuse_twice)]


class Editorial(_Channel):
    """The items that people chose, in the order in which they wrote them down."""

    kind: Literal["editorial"] = "editorial"
    items: Annotated[WrittenList, AfterValidator(_refuse_twice)] = ()
    """For all who have no list of their own; none: these get nothing of it."""
    by: str | None = None
    """Says who has which of `lists`: as that of `popular`."""
    lists: dict[_Word, _List] = Field(default={}, exclude_if=lambda lists: not lists)
    """Lists by the values of `by`."""

    def written(self) -> dict[str | None, WrittenList]:
        """All lists by their words; that for all by None, where there is one."""
        lists = zip((None, *self.lists), (self.items, *self.lists.values()), strict=True)
        return {word: items for word, items in lists if items}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        lists = self.written().values()
        if not lists:
            raise ValueError("there are no items; name some in items, or in lists by a value of by")
        if (self.by is None) == bool(self.lists):
            raise ValueError("by and lists go together: by says what the keys of lists are values of")
        if (written := sum(map(len, lists))) > _MOST_WRITTEN:
            raise ValueError(f"{written:,} items are named, and at most {_MOST_WRITTEN:,} may be: manifests hold them")
        return self


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


ChannelConfig = Annotated[
    TwoTowers | ItemToItem | Popular | Editorial | Category | Fresh | Explore | SecondGeneration,
    Field(discriminator="kind"),
]
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


def refuse_mixture(channels: Sequence[ChannelConfig], merging: MergingConfig) -> None:
    """Raise ValueError for channels that are no whole, and for merging none; none are a whole."""
    if not channels:
        if merging != MergingConfig():
            raise ValueError("merging has no effect without channels: leave it out, or declare some")
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
