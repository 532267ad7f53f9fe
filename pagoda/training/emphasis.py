"""How often a positive is learned by how popular its item is: thinned at the head, repeated at the tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from pagoda.model.config import Section

Int64Array = NDArray[np.int64]
_MOST = 10.0


class PositivesConfig(Section):
    """Which positives count less or more than once. What this does to in-batch negatives, logQ takes into account."""

    thin_above: float | None = Field(default=None, gt=0, lt=1)
    """Positives of an item whose share s of all is greater are learned with probability sqrt(this / s), drawn anew in
    each epoch, as frequent words are by Mikolov et al., NIPS 2013, equation 5. None: all are."""
    repeat_below: float | None = Field(default=None, gt=0, lt=1)
    """Positives of an item whose share s is smaller are learned sqrt(this / s) times in an epoch, at most 10 times.
    None: once."""

    @model_validator(mode="after")
    def _apart(self) -> PositivesConfig:
        if self.thin_above and self.repeat_below and self.repeat_below > self.thin_above:
            raise ValueError(
                f"repeat_below {self.repeat_below:g} must not be above thin_above {self.thin_above:g}: "
                "an item would be thinned and repeated"
            )
        return self


def repeats(config: PositivesConfig, clicks: Int64Array) -> NDArray[np.float64] | None:
    """How many times, on average, an epoch learns a positive of each item.

    Args:
        config: How.
        clicks: int64 [i], positives on each item.

    Returns:
        float64 [i]; None where each is learned once.
    """
    if config.thin_above is None and config.repeat_below is None:
        return None
    shares = np.maximum(clicks, 1) / max(clicks.sum(), 1)
    times = np.ones(len(clicks))
    if config.thin_above is not None:
        times = np.minimum(times, np.sqrt(config.thin_above / shares))
    if config.repeat_below is not None:
        times *= np.clip(np.sqrt(config.repeat_below / shares), 1.0, _MOST)
    return times


def repeated(times: NDArray[np.float64], rng: np.random.Generator) -> Int64Array:
    """Which of n positives to learn, int64 ascending: each as often as its `times` (float64 [n]) says on average."""
    whole = np.floor(times)
    counts = (whole + (rng.random(len(times)) < times - whole)).astype(np.int64)
    return np.repeat(np.arange(len(times)), counts)
