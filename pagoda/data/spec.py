"""The feature declaration: `features.yaml` of a dataset, and the part of a generation that says how to encode.

Training and serving read the same declaration (invariant 9), so raw values travel and only the towers encode.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pagoda.data.checks.references import check_references
from pagoda.errors import ConfigError, DataError, explain
from pagoda.yaml_text import load_yaml

Tower = Literal["user", "item"]
Source = Literal["table", "context"]
IMPRESSION = "impression"
EVENTS = (IMPRESSION, "click", "like", "purchase", "skip", "preranking_rejected", "ranking_rejected")
"""Events that every dataset may hold; `FeatureSpec.events` declares further ones."""

RESERVED = frozenset({"user_id", "item_id", "event", "timestamp", "user_key", "item_key", "example_age"})
"""Columns with a meaning of their own, which no feature can have as its name."""
SHOWN = ("arm", "generation", "channels", "position", "propensity")
"""Columns with what an event's receipt says of its item, of a dataset that declares `receipts`."""
HISTORY_EVENT = "history_event"
"""What a user tower reads the kinds of a history's events by, among its features; see `FeatureSpec.embeds_events`."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Feature(_Model):
    name: str
    tower: Tower
    source: Source = "table"
    """`table`: a column of `users` or `items`. `context`: a column of the interaction, given with each request."""
    filterable: bool = False
    """Item features only: stored in the collection, so that a request may filter by it."""

    @property
    def column(self) -> str:
        """The column that holds the raw value."""
        return self.name


class Categorical(_Feature):
    """One string (or integer, read as a string) of a vocabulary that grows between versions."""

    kind: Literal["categorical"] = "categorical"
    default: str = ""


class MultiValued(_Feature):
    """A list of strings, pooled by their mean."""

    kind: Literal["multi"] = "multi"
    default: tuple[str, ...] = ()
    max_values: int = Field(default=16, ge=1)


class _Grams(_Feature):
    """Text, read as the hashed letter n-grams of its words."""

    letters: int = Field(default=3, ge=2, le=8)
    """Length of an n-gram; words begin and end with one more letter that marks it."""
    buckets: int = Field(default=10_000, ge=2)
    """Different n-grams may share one of so many embeddings."""
    max_values: int = Field(default=48, ge=1)
    """The first n-grams count."""
    default: str = ""


class Text(_Grams):
    """Free text: a title, say."""

    kind: Literal["text"] = "text"


class PastText(_Grams):
    """What the user's last events said, such as their last searches: the newest first, as one text."""

    kind: Literal["past_text"] = "past_text"
    tower: Tower = "user"
    of: str
    """A text feature of the context: what an event says. Events of the history that have it count."""
    last: int = Field(default=5, ge=1, le=50)
    """Texts at most."""
    hours: float = Field(default=24.0, gt=0, le=720)
    """Before the moment; what was said earlier is forgotten."""

    @property
    def span_us(self) -> int:
        """`hours` in microseconds."""
        return round(self.hours * 3_600_000_000)


class Numeric(_Feature):
    """A number, put into buckets: bucket i holds edges[i-1] <= value < edges[i]."""

    kind: Literal["numeric"] = "numeric"
    edges: tuple[float, ...]
    default: float | None = None
    """`None` gives missing values a bucket of their own."""

    @model_validator(mode="after")
    def _increasing(self) -> Numeric:
        # Every comparison with NaN is false, so one among the edges has no place: a search by halves and one of a whole
        # column would put the same number into different buckets.
        rising = all(a < b for a, b in pairwise(self.edges))
        if not self.edges or not rising or not all(map(math.isfinite, self.edges)):
            raise ValueError(
                f"feature {self.name!r}: edges {list(self.edges)} must be finite, strictly increasing and not empty"
            )
        if self.default is not None and not math.isfinite(self.default):
            raise ValueError(f"feature {self.name!r}: default {self.default} must be finite; leave it out for none")
        return self


class Dense(_Feature):
    """A float32 vector made elsewhere, a text or image model's output, say. Missing: zeros."""

    kind: Literal["dense"] = "dense"
    length: int = Field(ge=1)


class TimeOf(_Feature):
    """A part of the request's own timestamp: the hour of the day, the day of the week, both as one of 168, the month.

    Of what a clock in UTC shows, or one in a zone.
    """

    kind: Literal["time"] = "time"
    tower: Tower = "user"
    part: Literal["hour", "weekday", "hour_of_week", "month"]
    zone: str | None = Field(default=None, exclude_if=lambda name: name is None)
    """An IANA name, `Europe/Berlin`; the same for all users."""
    zone_feature: str | None = Field(default=None, exclude_if=lambda name: name is None)
    """A categorical feature of users whose value is each one's zone; one that is no zone counts as UTC."""

    @model_validator(mode="after")
    def _one_zone(self) -> TimeOf:
        if self.zone is not None and self.zone_feature is not None:
            raise ValueError(
                f"feature {self.name!r}: zone {self.zone!r} and zone_feature {self.zone_feature!r} contradict each "
                "other; keep one"
            )
        return self


class History(_Model):
    """The user's last interactions, most recent last, pooled from item-ID rows."""

    length: int = Field(default=50, ge=1, le=1000)
    events: tuple[str, ...] | None = None
    """Events that enter the history; `None` means the positive ones."""
    embed_event: bool = Field(default=False, exclude_if=lambda on: not on)
    """Whether the tower is told which event each was: it adds a learned vector of the event to the item's row."""


Feature = Annotated[Categorical | MultiValued | Text | PastText | Numeric | Dense | TimeOf, Field(discriminator="kind")]
COMPUTED = ("time", "past_text")
"""Kinds of features that are no column: they follow from a moment, or from what was done before it."""
PAST_CHARACTERS = 200
"""Of a past event's text that count: Redis keeps them for each event."""


class Rules(_Model):
    """What a search weighs beside the cosine: score = w · cosine - β · log p."""

    weight: str | None = None
    """Column of `items` with w, a positive number; an item without one has 1."""
    popularity: bool = False
    """Whether p, an item's share of all clicks, counts."""
    penalty: float = Field(default=0.0, ge=0, le=10)
    """β of requests that name none."""

    @model_validator(mode="after")
    def _penalty_of_something(self) -> Rules:
        if self.penalty and not self.popularity:
            raise ValueError("rules.penalty needs rules.popularity")
        return self


class FeatureSpec(_Model):
    """What a dataset holds and which tower sees it. IDs alone need no feature at all."""

    id_type: Literal["int64", "string"] = "int64"
    """Type of IDs outside Pagoda. Strings are 64-bit hashes inside, see `pagoda.data.ids`."""
    positives: tuple[str, ...] = ("click",)
    positive_weight: str | None = Field(default=None, exclude_if=lambda name: name is None)
    """Column of `interactions` with what a positive weighs in the loss, a number from 0 on: seconds of dwell time, say.
    They count against each other: divided by their mean in what is learned, and 1 for a positive without one."""
    receipts: bool = Field(default=False, exclude_if=lambda on: not on)
    """Whether answers carry receipts, and interactions may say what showed their items: `SHOWN`."""
    events: tuple[str, ...] = ()
    """Events of this dataset beside the common ones."""
    history: History | None = History()
    features: tuple[Feature, ...] = ()
    title: str | None = None
    """Column of `items` that a person recognises an item by."""
    rules: Rules | None = None
    """Business rules of the search; None: the cosine alone."""

    @model_validator(mode="after")
    def _consistent(self) -> FeatureSpec:
        names = [feature.name for feature in self.features]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"features {twice} are declared twice")
        own = RESERVED.union(SHOWN if self.receipts else ())
        if reserved := sorted(set(names) & (own | {HISTORY_EVENT} if self.embeds_events else own)):
            raise ValueError(f"features {reserved} have the names of Pagoda's own columns; rename them")
        for feature in self.features:
            if feature.tower == "item" and (feature.source == "context" or feature.kind in COMPUTED):
                raise ValueError(
                    f"feature {feature.name!r}: item vectors are computed offline, so no context reaches them"
                )
            if feature.filterable and feature.tower == "user":
                raise ValueError(f"feature {feature.name!r}: only item features can be filterable")
        if self.positive_weight in {*names, *own}:
            raise ValueError(
                f"positive_weight {self.positive_weight!r} is a column with another meaning: features are known before "
                "the user chooses, a weight is known afterwards"
            )
        check_references(self, RESERVED)
        return self

    @property
    def known_events(self) -> frozenset[str]:
        """Every event that an interaction of this dataset may have."""
        return frozenset({*EVENTS, *self.events})

    @property
    def history_events(self) -> tuple[str, ...]:
        """Events that enter a history (empty when there is no history)."""
        if self.history is None:
            return ()
        return self.history.events or self.positives

    @property
    def embeds_events(self) -> bool:
        """Whether histories say which event each was."""
        return self.history is not None and self.history.embed_event

    @property
    def past_text(self) -> PastText | None:
        """The feature that past events' texts make, of which there is one at most."""
        return next((feature for feature in self.features if isinstance(feature, PastText)), None)

    @property
    def zone_features(self) -> tuple[str, ...]:
        """Names of the features that hold users' zones, each once."""
        named = (feature.zone_feature for feature in self.features if isinstance(feature, TimeOf))
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def of(self, tower: Tower) -> tuple[Feature, ...]:
        """The features of one tower, in declared order."""
        return tuple(feature for feature in self.features if feature.tower == tower)


def read_spec(path: Path) -> FeatureSpec:
    """Read `features.yaml`.

    Raises:
        ConfigError: A key is unknown or a value is wrong; the message names file, place and value.
        DataError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_spec(content, str(path))


def parse_spec(content: bytes, name: str) -> FeatureSpec:
    """Read the content of the `features.yaml` that messages call `name`.

    Raises:
        ConfigError: A key is unknown or a value is wrong; the message names file, place and value.
    """
    try:
        raw = load_yaml(content.decode(), name) or {}
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from error
    try:
        return FeatureSpec.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(explain(error, name)) from error


def write_spec(spec: FeatureSpec, path: Path) -> None:
    """Write the declaration as YAML that `read_spec` reads back."""
    path.write_text(yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=False), sort_keys=False))
