"""What an evaluation found, as one document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pagoda.data.window import Window
from pagoda.evaluation.positives import Protocol

ItemBaselineName = Literal["ease", "item_knn"]
UnaskedReason = Literal["seen_before", "item_gone", "not_drawn"]
UnknownKind = Literal["new_item", "new_user", "no_history"]
GroupName = Literal["all", "head", "middle", "tail", "new_users"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Model):
    """A mean over rows with its 95 % interval over users."""

    value: float
    low: float
    high: float


class Group(_Model):
    """Rows of one kind."""

    rows: int
    users: int
    metrics: dict[str, Estimate]
    """By name: `recall@50`, `ndcg@10`."""


class Method(_Model):
    """How one method did."""

    groups: dict[GroupName, Group]
    """`all`; by the popularity third of the target: `head`, `middle`, `tail`; `new_users`. Empty ones are absent."""
    coverage: dict[str, float]
    """Share of the catalogue that is shown to anyone: `coverage@50`."""
    curve: list[float]
    """Recall at each of the report's `curve_at`."""


class Third(_Model):
    """A popularity third."""

    items: int
    clicks: int
    """Positives before the window."""


class ChannelFigures(_Model):
    """One channel beside the others of an answer."""

    recall: Estimate
    """Of its own candidates alone, as many as the answer is long."""
    adds: Estimate
    """Recall that the answer loses where this channel gives nothing and the others fill its places."""
    given: float
    """Its candidates, divided by the answers' places."""
    had: float
    """Share of the answers' items that are among its candidates."""
    overlap: dict[str, float]
    """By other channel: share of this one's candidates that the other has, too."""
    coverage: float
    """Share of the catalogue that is among anyone's candidates of it."""


class MixtureFigures(_Model):
    """Answers of one length that several channels make, beside the towers' own of the same length."""

    k: int
    recall: Estimate
    recall_two_tower: Estimate
    gain: Estimate
    """The difference of these two, paired by user."""
    tail_gain: Estimate | None
    """The same of the items of the last third by popularity; None where nobody chose one."""
    coverage: float
    """Share of the catalogue that is in anyone's answer."""
    coverage_two_tower: float
    channels: dict[str, ChannelFigures]
    """In the order declared."""


class Report(_Model):
    """An evaluation. Methods: `live`, `frozen` (history), `ease` or `item_knn`, `popularity`, `random`, all on the same
    rows. What older releases did not write has a default."""

    version: str
    window: Window
    protocol: Protocol
    seed: int
    rows: int
    available: int
    """Positives of the window, of which `rows` and `repeats` were drawn."""
    repeats: int
    """Drawn but not asked: the user had the item before."""
    repeats_asked: bool = False
    """Whether items that users had before were asked for like others, and none was left out."""
    unasked: dict[UnaskedReason, int] = {}
    """Positives of the window that were not asked, by why not: their user had the item before, the catalogue has it no
    more, or others were drawn."""
    unknown: dict[UnknownKind, int] = {}
    """Positives that were asked although little was known: on items without a positive before the window, of users
    without an ID row, of users without a history at that moment. One can be of several kinds."""
    users: int
    items: int
    thirds: dict[str, Third]
    methods: dict[str, Method]
    curve_at: list[int]
    lift: dict[str, Estimate]
    """`live` divided by `popularity`, paired by user, for each metric over all rows."""
    item_baseline: ItemBaselineName | None = None
    """What recommends items that go together; None where nobody had anything before the window."""
    item_lift: dict[str, Estimate] = {}
    """`live` divided by that."""
    mixture: tuple[MixtureFigures, ...] = Field(default=(), exclude_if=lambda mixture: not mixture)
    """Of a version that declares channels: its whole answers, by their length."""

    @property
    def lifts(self) -> dict[str, dict[str, Estimate]]:
        """`lift` and `item_lift` by what they are over; what finds nothing is absent."""
        found = {"popularity": self.lift}
        if self.item_baseline:
            found[self.item_baseline] = self.item_lift
        return {name: lift for name, lift in found.items() if lift}

    def summary(self, method: str = "live") -> dict[str, float]:
        """The figures of one method over all rows, flat: `recall@50`, `ndcg@10`, `coverage@50` …"""
        found = self.methods[method]
        return {name: estimate.value for name, estimate in found.groups["all"].metrics.items()} | found.coverage
