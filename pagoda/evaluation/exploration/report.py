"""What exploration cost and brought, as one document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pagoda.data.window import Window
from pagoda.evaluation.report import Estimate


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ShownByChannel(_Model):
    """What a channel showed, alone or with others."""

    shown: int
    clicked: int
    click_rate: Estimate


class ExploredPlaces(_Model):
    """Clicks of explored places beside what others' items get as far down."""

    click_rate: Estimate
    others: Estimate
    """Of others' items in the same places, each counting as often as it was explored; next to one that always was."""
    ratio: Estimate
    """The first by the second."""
    lost_clicks: Estimate
    """What others' items would have had in these places beyond what the explored ones had; below 0: gained."""
    lost_share: Estimate
    """The same as a share of all clicks that there would have been."""
    evenly: Estimate
    """Click rate if all items among which chance chose had been shown equally often (weights 1 / propensity).

    Exact under `epsilon`. Under `thompson` it leans to what was chosen often: a propensity is then an estimate that is
    never 0 and too high for what is hardly ever chosen, which thus counts too little; see `explored`.
    """


class ExploredItems(_Model):
    """What became of the items that were explored."""

    explored: int
    """Items that stood in an explored place."""
    clicks: int
    """From how many positives on an item is known."""
    known_before: int
    """Of these items, those that were known when the window began."""
    known_since: int
    """Those that came to be known in it."""
    known_alone: int
    """Those of them that had so many positives in explored places alone."""
    clicks_later: int
    """Positives of explored items in others' places, after they were first explored."""


class ExplorationReport(_Model):
    """A window of what was shown. A click is a positive; rates are of impressions, with 95 % intervals over users."""

    window: Window
    channels: dict[str, ShownByChannel]
    places: ExploredPlaces
    items: ExploredItems
