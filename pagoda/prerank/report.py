"""`prerank.json` of a full version: what its pre-ranker reads, and how that was chosen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class CurvePoint(BaseModel):
    """What some groups are worth, and cost."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[str, ...]
    gauc: float
    """Of what was shown and held back."""
    milliseconds: float
    """For all candidates of a user, on one core."""


class PrerankReport(BaseModel):
    """What a pre-ranker reads, and how it was chosen: `prerank.json` of a full version."""

    model_config = ConfigDict(frozen=True)

    groups: tuple[str, ...]
    examples: int
    gauc: float
    """Of what was shown in the last tenth of the window, by a network that has learned from the rest."""
    gauc_cosine: float
    """Of the same by the parent's towers, which had not learned it; of a first version by its own, which have: that
    flatters it."""
    curve: tuple[CurvePoint, ...]
    gates: dict[str, float] = {}
    """Mean gate by group; none where the groups were named."""
