"""What both arms are compared by while users are in them: a policy's section `online`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pagoda.config.model import Section

_CHANNEL_DROP = 0.5


class RateGate(Section):
    """A share of requests that may not be higher in the canary arm."""

    tolerance: float = Field(default=0.01, ge=0, lt=1)
    """Difference (absolute, in shares) that is still fine."""


class LatencyGate(RateGate):
    """The share of answers slower than `ratio` times the stable arm's 99th percentile, measured before the step."""

    ratio: float = Field(default=1.5, ge=1)
    floor_ms: float = Field(default=20.0, ge=0)
    """Limits below this are raised to it: nobody feels 3 ms against 2."""


class ClusterGate(RateGate):
    """A share that is tested user by user, since one user's requests resemble each other."""

    minimum_users: int = Field(default=50, ge=2)
    """Effective users in each arm, (Σn)²/Σn² over the requests of each; fewer is hold."""


class ClickWeights(Section):
    """What clicks weigh by what their receipts say, so that arms are compared as if both had shown their own choice in
    the same places; see `pagoda.rollout.measures.click_weights`."""

    examination: float = Field(default=1.0, ge=0, le=4)
    """η: an item at place p of an answer, from 1 on, is looked at with probability p^-η. 0: all are."""
    cap: float = Field(default=10.0, ge=1)
    """Most that a click weighs, and all clicks of one answer together: few rare ones would else decide."""


class FallbackGate(ClusterGate):
    """Answers that are not of the towers or lack a channel, and how much of the answers each channel gives."""

    channel_drop: float | None = Field(default=_CHANNEL_DROP, gt=0, lt=1, exclude_if=lambda drop: drop == _CHANNEL_DROP)
    """Part of what a channel gives in the stable arm that it may give less in the canary's: of the answers' items, and
    of the candidates. Of channels that both arms declare alike. None: they are not compared."""


class ResponseGate(ClusterGate):
    """What users do with their answers; `tolerance` is a relative difference here."""

    tolerance: float = Field(default=0.0, ge=0, lt=1)
    minimum_users: int = Field(default=100, ge=2)
    effect: float = Field(default=0.1, gt=0, lt=1)
    """Relative difference at which the sequential test is made most sensitive."""


class ClickGate(ResponseGate):
    """Click-through.

    Measured at the default policy with 10 % clicks and half of 150,000 users in each arm: of candidates that lose 5 %
    of the clicks, half are rolled back within 210,000 requests of both arms, 80 % within 240,000, 95 % within 350,000;
    of those that lose 10 %, 80 % within 70,000. Where few users return often and differ much, the number of users sets
    the limit, not that of requests.
    """

    weights: ClickWeights | None = Field(default=None, exclude_if=lambda weights: weights is None)
    """Clicks with a receipt alone count, by these weights. None: an answer is clicked or not, wherever its items stood.
    """


class OutcomeGate(ResponseGate):
    """One more thing that users do, beside clicks: answers that an event followed, or the sum of a column an answer.

    It counts for the same answers as a click would, and where clicks are weighed, so is it.
    """

    event: str | None = None
    """One that `features.yaml` knows, positive or not. None: any that has the column."""
    column: str | None = None
    """Numbers that come with events: `positive_weight` of `features.yaml`, or a numeric feature of the context. None:
    the events are counted."""
    cap: float | None = Field(default=None, gt=0)
    """Most that one answer counts of the column; what is above is cut (winsorised), or few rare ones would decide."""
    worse: Literal["lower", "higher"] = "lower"
    """Which way is bad: fewer purchases, more hides."""

    @model_validator(mode="after")
    def _says_what(self) -> OutcomeGate:
        if self.event is None and self.column is None:
            raise ValueError("says nothing to look at; name an event (`event: purchase`) or a `column`")
        if (self.column is None) is not (self.cap is None):
            raise ValueError(
                f"cap says how much of a column one answer counts at most: {self.name!r} "
                + ("counts events, so leave it out" if self.column is None else "is a column, so give it one")
            )
        return self

    @property
    def name(self) -> str:
        """What the gate is called."""
        return ".".join(part for part in (self.event, self.column) if part)

    def value(self, event: str, columns: Mapping[str, Any]) -> float:
        """What an event counts, at most `cap`; 0: nothing.

        Args:
            event: Its kind.
            columns: What came with it.
        """
        if self.event not in (None, event):
            return 0.0
        if self.column is None or self.cap is None:
            return 1.0
        return max(0.0, min(columns.get(self.column) or 0.0, self.cap))


class OnlineGates(Section):
    """What both arms are compared by, at all times of a rollout. None turns a gate off."""

    family_error: float = Field(default=0.02, gt=0, lt=0.5)
    """Probability that any of these gates, in any step, ever rolls back a candidate that is no worse."""
    errors: RateGate | None = RateGate()
    latency: LatencyGate | None = LatencyGate()
    short_answers: ClusterGate | None = ClusterGate(tolerance=0.02)
    fallbacks: FallbackGate | None = FallbackGate(tolerance=0.02)
    clicks: ClickGate | None = ClickGate()
    outcomes: tuple[OutcomeGate, ...] = Field(default=(), max_length=8, exclude_if=lambda outcomes: not outcomes)
    """What else of users' events is compared; each is a gate of its own, by the name of its event or column."""

    @field_validator("outcomes")
    @classmethod
    def _distinct(cls, outcomes: tuple[OutcomeGate, ...]) -> tuple[OutcomeGate, ...]:
        names = [one.name for one in outcomes]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]!r} is named twice; one gate judges it")
        if taken := sorted({"requests", *cls.model_fields}.intersection(names)):
            raise ValueError(f"{taken[0]!r} is the name of another gate; give the event or column another one")
        return outcomes

    @property
    def responses(self) -> tuple[str, ...]:
        """Those of them that are on and look at what users do."""
        return (*(("clicks",) if self.clicks else ()), *(one.name for one in self.outcomes))

    @property
    def faults(self) -> tuple[str, ...]:
        """Those that are on and look for gross faults."""
        return tuple(name for name in ("errors", "latency", "short_answers", "fallbacks") if getattr(self, name))

    @property
    def names(self) -> tuple[str, ...]:
        """The gates that are on."""
        return (*self.faults, *self.responses)

    @property
    def weights(self) -> ClickWeights | None:
        """What clicks, and so outcomes, weigh."""
        return self.clicks.weights if self.clicks else None
