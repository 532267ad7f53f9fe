"""Which negatives a training has: the section `negatives` of the training file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    model_validator,
)

from pagoda.config.model import Section
from pagoda.config.objective import (
    ListwiseConfig,
    ObjectiveConfig,
    PointwiseConfig,
)

REJECTIONS = {"rejected": "ranking_rejected", "preranking_rejected": "preranking_rejected"}
"""Keys for what recall found for a user and a later stage threw out, and the event that says so. What came furthest is
first: an item that both threw out is one of its."""
HARD = (*REJECTIONS, "mined")
"""Keys for negatives of a user's own."""


class NegativesConfig(Section):
    """Which items are candidates of every user of a batch, beside each one's own. What several sources give is mixed.

    Impressions without a click are none: users never judged most of what they were shown, and an index is searched
    among all items, not among those that ranking had let through.
    """

    catalogue: bool = False
    """All items, in every batch: the softmax that the other sources sample, which are left out then. For catalogues of
    which each batch can pay for all."""
    in_batch: bool = True
    """The items that the other users of the batch chose."""
    uniform: NonNegativeInt = 512
    """So many draws a batch from the whole catalogue, evenly: what nobody clicked in a short window stays in place."""
    popularity: NonNegativeInt = 0
    """So many draws a batch from the whole catalogue, by clicks ^ `popularity_exponent`."""
    popularity_exponent: NonNegativeFloat = 0.75
    queue: NonNegativeInt = 0
    """Candidates of so many earlier batches are candidates too, by the vectors that they had then."""
    queue_warm_up: NonNegativeInt = 200
    """Batches of a first version before the queue begins, since vectors move too fast until then."""
    rejected: NonNegativeInt = 0
    """So many of a positive's negatives are items that ranking rejected for this user in the window."""
    preranking_rejected: NonNegativeInt = 0
    """So many are items that pre-ranking threw out for this user in the window, before ranking saw them."""
    mined: NonNegativeInt = 0
    """So many of a positive's negatives are items that `pagoda mine` found for this user."""
    bad: NonNegativeInt = 0
    """So many of a positive's candidates count for more: what the version would recommend now, although another one
    finds it irrelevant to the user (Fan et al., KDD 2019)."""
    bad_below: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """The share of a batch's candidates that are irrelevant to a user: those of the lowest cosines by that version."""
    bad_weight: PositiveFloat = 1.0
    """How much more they count, for the listwise objective: so many times once more."""
    correction: Literal["exact", "streaming", "none"] = "exact"
    """Where the chance of an item to be in a batch comes from. `exact`: counted before training. `streaming`: estimated
    as batches come, for data that nobody can count before. `none`: no logQ at all."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        """All items leave nothing to sample."""
        if isinstance(given, dict) and given.get("catalogue") is True:
            return {"in_batch": False, "uniform": 0, **given}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> NegativesConfig:
        if self.catalogue:
            idle = {"in_batch": False, "uniform": 0, **dict.fromkeys(("popularity", "queue", *HARD, "bad"), 0)}
            for name, value in (idle | {"correction": "exact"}).items():
                if getattr(self, name) != value:
                    raise ValueError(f"catalogue: true makes all items candidates, so {name} adds none; leave it out")
        elif not (self.in_batch or self.uniform or self.popularity):
            raise ValueError("no source of negatives: set in_batch, uniform or popularity")
        if self._changed("popularity_exponent") and not self.popularity:
            raise ValueError("popularity_exponent has no effect while popularity is 0")
        if self._changed("queue_warm_up") and not self.queue:
            raise ValueError("queue_warm_up has no effect while queue is 0")
        for name in ("bad_below", "bad_weight"):
            if self._changed(name) and not self.bad:
                raise ValueError(f"{name} has no effect while bad is 0")
        if not self.in_batch and (self.queue or self.correction == "streaming"):
            what = "queue holds" if self.queue else "correction: streaming counts"
            raise ValueError(f"{what} the items of batches, so it needs in_batch: true")
        return self

    @property
    def hard(self) -> int:
        """How many of a positive's negatives are its user's own."""
        return sum(getattr(self, name) for name in HARD)

    @property
    def rejections(self) -> dict[str, int]:
        """How many of a positive's negatives each key of `REJECTIONS` asks for, where it is any."""
        return {key: count for key in REJECTIONS if (count := getattr(self, key))}

    def without_others(self) -> NegativesConfig:
        """The same without what a version before this one has to say."""
        fields = type(self).model_fields
        return self.model_copy(
            update={name: fields[name].default for name in ("mined", "bad", "bad_below", "bad_weight")}
        )

    def _changed(self, name: str) -> bool:
        return bool(getattr(self, name) != NegativesConfig.model_fields[name].default)


def refuse_contradictions(objective: ObjectiveConfig, negatives: NegativesConfig) -> None:
    """Raise ValueError where negatives are declared that the objective cannot use."""
    if isinstance(objective, ListwiseConfig):
        return
    for name, idle in {"queue": 0, "correction": "exact", "catalogue": False, "bad_weight": 1.0}.items():
        if getattr(negatives, name) != idle:
            raise ValueError(f"negatives.{name} is for the listwise objective; {objective.kind} takes single negatives")
    if negatives.hard > objective.negatives:
        raise ValueError(
            f"{' + '.join(f'negatives.{name}' for name in HARD)} is {negatives.hard}, more than objective.negatives "
            f"{objective.negatives}, all of a positive's negatives"
        )
    if isinstance(objective, PointwiseConfig) and objective.calibration:
        # Its rate of negatives is that of even draws from the whole catalogue.
        for name, idle in {"in_batch": False, **dict.fromkeys(("popularity", *HARD, "bad"), 0)}.items():
            if getattr(negatives, name) != idle:
                raise ValueError(
                    f"objective.calibration is for negatives that are drawn evenly from the whole catalogue, which "
                    f"those of negatives.{name} are not; set negatives: {{in_batch: false, uniform: 512}}"
                )
