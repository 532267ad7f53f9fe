"""How many processes train a full version together: the section `distributed` of the training file."""

from __future__ import annotations

from pydantic import PositiveInt

from pagoda.config.model import Section


class DistributedConfig(Section):
    """For tables and windows that one machine does not hold, or several GPUs."""

    processes: PositiveInt = 1
    """They share the users among them, and the rows of items; a step learns `batch_size` positives of them together.
    1: the one process that trains anyway, and needs nothing more than it does."""
