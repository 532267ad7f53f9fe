"""How incremental updates learn: a section of the training configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pagoda.config.model import Section


class IncrementalConfig(Section):
    """One pass over a window in time order; only user rows change."""

    learning_rate: PositiveFloat = 0.1
    """Of row-wise Adagrad. A row has few steps in which to catch up with its user; but where interests are steady, more
    than this costs recall (replayed worlds of the tuning seed: `benchmarks/replay/settings.py`)."""
    batch_size: PositiveInt = 256
    """Consecutive positives learned at once; of a user among them, one step."""
    candidates: int = Field(default=4096, ge=2)
    """Items drawn for each batch, beside its own; all items where there are no more."""
    correction: Literal["counted", "streaming"] = "counted"
    """Where the chance of an item to be in a batch comes from. `counted`: what the base learned. `streaming`: estimated
    as interactions come, from update to update, so that what has just become popular is not pushed away for it. It
    matters only where the catalogue is larger than `candidates`."""
    lateness_seconds: NonNegativeFloat = 60.0
    """How long interactions may be on their way. A window ends this long before now; what comes later still is left to
    the next full update."""
    late_horizon_seconds: NonNegativeFloat = 3600.0
    """How far before the window interactions that came too late are looked for and counted."""
    seed: int = Field(default=0, ge=0)
    """Of the candidates drawn."""
