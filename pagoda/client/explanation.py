"""What an answer says of itself where the request has `explain`. The service fills it in, the client reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

# A newer service may say more: that is kept, as of all answers.
_described = with_config(ConfigDict(extra="allow", use_attribute_docstrings=True))
WhyArm = Literal["no_rollout", "share", "shadow", "header", "canary_not_warm", "canary_failed"]
ChannelOutcome = Literal["answered", "late", "failed", "not_open"]
StoreOutcome = Literal["read", "store_remembered", "store_missing"]
VectorSource = Literal["computed", "kept", "tower_cached", "tower_oov"]
BreakerState = Literal["closed", "half_open", "open"]


@_described
class ArmExplained(TypedDict):
    """Which arm answered, and why that one."""

    arm: str
    """`stable` or `canary`."""
    generation: str
    """What answered."""
    why: WhyArm
    """`no_rollout`: there is one arm. `share`: the user's place in [0, 1) is, or is not, within the canary's share.
    `shadow`: the canary gets copies alone. `header`: `x-pagoda-arm` asked for it. `canary_not_warm`: the user is the
    canary's, which is not ready to answer here. `canary_failed`: it was asked, and failed or was late."""
    canary: str | None
    """The other generation of the rollout; null without one."""
    canary_percent: float
    """Its share of the users, or of a shadow the share whose requests are copied."""


@_described
class IdRowExplained(TypedDict):
    """Where the user's own row came from."""

    source: Literal["full", "incremental", "none", "unseen"]
    """`full`: the full version has it. `incremental`: an incremental version's segment does, which goes before that.
    `none`: nobody does, so what stands for unknown users was taken. `unseen`: there is one, in files that are not on
    this host."""
    versions: list[int]
    """Of `incremental` its version; several, the newest first, where this host has merged their segments. Of `full` the
    full version."""


@_described
class HistoryExplained(TypedDict):
    """What of the user's past the tower read."""

    source: Literal["store", "request"]
    """Where it is from."""
    events: int
    """How many were read."""
    newest_age_seconds: float | None
    """From the newest of these to the moment that the answer is for; null where there is none."""


@_described
class UserExplained(TypedDict):
    """What was known of the user."""

    store: StoreOutcome
    """Whether the online store was read, or what stood in for it."""
    id_row: IdRowExplained
    """Their row of their own."""
    vector: VectorSource
    """Whether the tower computed it, an earlier one was still right, or what stood in for the tower."""
    profile: dict[str, Any]
    """Raw values of the features that the tower read, by name."""
    profile_of_request: list[str]
    """Those of them that the request named in place of stored ones."""
    interests: list[str] | None
    """What they said they like; null where they said nothing, or the dataset has no such feature."""
    history: HistoryExplained
    """Their past."""


@_described
class FilterExplained(TypedDict):
    """What a request's filter leaves."""

    kept: int
    """Items that satisfy it."""
    total: int
    """Of so many."""
    exact: bool
    """Whether that is so now. False: items that were added since the generation's export are not counted."""


@_described
class ChannelExplained(TypedDict):
    """One source of candidates."""

    channel: str
    """Its name."""
    outcome: ChannelOutcome
    """`late`: it did not answer in the time that it had. `not_open`: its table or model is not."""
    error: str | None
    """What went wrong, where something did."""
    deadline_ms: float | None
    """That the generation gives it; null: as long as any search may take."""
    share: float | None
    """Of what is merged, for a user with this past; null where channels are not merged by shares."""
    quota: float | None
    """Places that the share comes to, of `candidates`; of what is explored in the mean. Null where places are not dealt
    out so."""
    found: int
    """Candidates that it gave."""
    given: int
    """Items of the answer that it had among them."""
    credited: int
    """Items of the answer that count for it: the first declared of those that had it."""


@_described
class PrerankExplained(TypedDict):
    """What the generation's pre-ranker did."""

    outcome: Literal["answered", "late", "failed", "not_open", "text"]
    """`text`: words have an order of their own, so it was not asked."""
    scored: int
    """Items that it put in order."""
    error: str | None
    """What went wrong, where something did."""


@_described
class Explanation(TypedDict):
    """How a user's answer came about. How long each stage took is in `timing_ms`, what stood in in `degraded`."""

    arm: ArmExplained
    """Who answered."""
    user: UserExplained
    """What was known of them."""
    excluded: int | None
    """Items left out because the user had them; null where `exclude_seen` was not asked for."""
    filter: FilterExplained | None
    """What the filter leaves; null without one, and where the backend cannot say cheaply."""
    removed: int
    """Items that the item log has taken out of the catalogue; no answer has one of them."""
    candidates: int
    """Items that each channel was asked for."""
    channels: list[ChannelExplained]
    """All that were asked, in that order."""
    prerank: PrerankExplained | None
    """Null where the generation has none."""
    breakers: dict[str, BreakerState]
    """State of the breakers before the servers that answer this generation, by server."""
