"""Which positives count more or less than once: the section `positives` of the training file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pagoda.config.channels import CHANNEL_NAMES
from pagoda.config.model import Section

Weight = Annotated[float, Field(ge=0, le=100)]


class PositivesConfig(Section):
    """Which positives count less or more than once. What this does to in-batch negatives, logQ takes into account."""

    thin_above: float | None = Field(default=None, gt=0, lt=1)
    """Positives of an item whose share s of all is greater are learned with probability (this / s) ^ `thin_exponent`,
    drawn anew in each epoch, as frequent words are by Mikolov et al., NIPS 2013, equation 5. None: all are."""
    thin_exponent: Annotated[float, Field(gt=0, le=1)] = 0.5
    """1: of items above, each is learned equally often."""
    repeat_below: float | None = Field(default=None, gt=0, lt=1)
    """Positives of an item whose share s is smaller are learned sqrt(this / s) times in an epoch, at most 10 times.
    None: once."""
    by_arm: dict[Literal["stable", "canary"], Weight] = Field(default={}, exclude_if=lambda given: not given)
    """What positives on items that an arm showed count in the loss, 1 where it is not named or not known; 0: they are
    not learned. Of a dataset that declares `receipts`."""
    by_channel: dict[str, Weight] = Field(default={}, exclude_if=lambda given: not given)
    """The same by channel; an item that several found counts as that of them which counts most."""

    @field_validator("by_channel")
    @classmethod
    def _known(cls, given: dict[str, float]) -> dict[str, float]:
        if unknown := sorted(given.keys() - set(CHANNEL_NAMES)):
            raise ValueError(f"{unknown[0]!r} is no channel; these are: {', '.join(CHANNEL_NAMES)}")
        return given

    @model_validator(mode="after")
    def _consistent(self) -> PositivesConfig:
        if self.thin_above is None and self.thin_exponent != PositivesConfig.model_fields["thin_exponent"].default:
            raise ValueError("thin_exponent has no effect while thin_above is not set")
        if self.thin_above and self.repeat_below and self.repeat_below > self.thin_above:
            raise ValueError(
                f"repeat_below {self.repeat_below:g} must not be above thin_above {self.thin_above:g}: "
                "an item would be thinned and repeated"
            )
        return self
