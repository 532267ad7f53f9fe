"""`prerank.json` of a full version: what its pre-ranker reads, and how that was chosen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class CurvePoint(BaseModel):
    """What some groups are worth, and cost."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[str, ...]
    gauc: float
    """Of what was shown to one half of the users, by a network that has learned from the other, and the other way
    about."""
    rounds: int = 0
    """Of learning, after which that was the best; 0: the cosine was not bettered."""
    milliseconds: float
    """For all candidates of a user, on one core."""


class PrerankReport(BaseModel):
    """What a pre-ranker reads, and how it was chosen: `prerank.json` of a full version."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[str, ...]
    examples: int
    gauc: float
    """Of what was shown, as on the curve."""
    gauc_cosine: float
    """Of the same by towers that had not learned it: the parent's, or those of a first version's rehearsal."""
    curve: tuple[CurvePoint, ...]
    gates: dict[str, float] = {}
    """Mean gate by group; none where the groups were named."""
