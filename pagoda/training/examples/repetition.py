"""How often a positive is learned by how popular its item is: thinned at the head, repeated at the tail."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.config.positives import PositivesConfig

Int64Array = NDArray[np.int64]
_MOST = 10.0


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
        times = np.minimum(times, (config.thin_above / shares) ** config.thin_exponent)
    if config.repeat_below is not None:
        times *= np.clip(np.sqrt(config.repeat_below / shares), 1.0, _MOST)
    return times


def repeated(times: NDArray[np.float64], rng: np.random.Generator) -> Int64Array:
    """Which of n positives to learn, int64 ascending: each as often as its `times` (float64 [n]) says on average."""
    whole = np.floor(times)
    counts = (whole + (rng.random(len(times)) < times - whole)).astype(np.int64)
    return np.repeat(np.arange(len(times)), counts)
