"""Several models as one version: the section `ensemble` of the training file."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from pagoda.config.model import HistoryConfig, Section
from pagoda.config.negatives import NegativesConfig
from pagoda.config.objective import ObjectiveConfig

MODEL_KEYS = ("dim", "history")
"""What a member may name that is of the section `model`."""
MEMBER_KEYS = (*MODEL_KEYS, "objective", "negatives")
"""What a member may name in the place of the file's."""
_CASCADED = 2
_ROUNDING = 1e-6


class CascadeShape(NamedTuple):
    """How vectors of a cascade are read: the first member's numbers, then the second's."""

    first: int
    """How many numbers are the first member's."""
    candidates: int
    """How many items the first member finds, for the second to order."""


class MemberConfig(Section):
    """A model of the ensemble, with towers and ID rows of its own. What it does not name is as the file has it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of its cosine in the version's; those of all members add up to 1. None: chosen when all are trained."""
    dim: PositiveInt | None = None
    """In the place of `model.dim`."""
    history: HistoryConfig | None = None
    """In the place of `model.history`."""
    objective: ObjectiveConfig | None = None
    negatives: NegativesConfig | None = None


class EnsembleConfig(Section):
    """Models that are trained together, on the same positives, and answer together.

    Huang et al., KDD 2020, section 6.2.
    """

    members: tuple[MemberConfig, ...] = Field(min_length=2, max_length=4)
    combine: Literal["weighted", "cascade"] = "weighted"
    """`weighted`: an item's score is the weighted mean of the members' cosines, in one search. `cascade`: the first of
    two members finds `candidates` items, and the second orders them."""
    candidates: Annotated[int, Field(ge=1, le=16_384)] = 1000
    """For `cascade` alone: what the first member finds; no more than one search of an index gives."""

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Of each member; None where they are to be chosen, and in a cascade, which has none."""
        given = tuple(member.weight for member in self.members if member.weight is not None)
        return given or None

    def without_others(self) -> EnsembleConfig:
        """The same without what a version before this one has to say about negatives."""
        members = [
            member.model_copy(update={"negatives": member.negatives.without_others()}) if member.negatives else member
            for member in self.members
        ]
        return self.model_copy(update={"members": tuple(members)})

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = [member.name for member in self.members]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"ensemble.members holds {twice[0]!r} more than once; give each a name of its own")
        return self

    @model_validator(mode="after")
    def _combined(self) -> Self:
        return self._as_cascade() if self.combine == "cascade" else self._as_weighted()

    def _as_weighted(self) -> Self:
        if self.candidates != EnsembleConfig.model_fields["candidates"].default:
            raise ValueError("ensemble.candidates has no effect while combine is weighted; it is for cascade")
        weights = self.weights
        if weights is None:
            return self
        if len(weights) < len(self.members):
            missing = next(member.name for member in self.members if member.weight is None)
            raise ValueError(
                f"ensemble.members: {missing} has no weight, and others have one; give all of them, or none, and they "
                "are chosen"
            )
        if abs(sum(weights) - 1) > _ROUNDING:
            raise ValueError(f"ensemble.members: weights add up to {sum(weights):g}, and must to 1")
        return self

    def _as_cascade(self) -> Self:
        if len(self.members) != _CASCADED:
            raise ValueError(
                f"ensemble.members are {len(self.members)}, but a cascade has two: one that finds, one that orders"
            )
        if self.weights is not None:
            raise ValueError(
                "ensemble.members: weight has no effect in a cascade; leave it out, or set combine: weighted"
            )
        return self
