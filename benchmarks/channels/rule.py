"""The one training file of all sets: default towers, and channels chosen on validation parts alone."""

from __future__ import annotations

from datetime import timedelta

from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.window import Window

K = 200
"""Length of the answers."""
_FEWEST_DAYS, _PART = 30.0, 4
_CHANNELS = """
channels:
  - {{kind: two_tower, share: 0.5, cold_share: 0.5}}
  - {{kind: item_to_item, share: 0.4, cold_share: 0.2, days: {days:g}, seeds: 50}}
  - {{kind: popular, share: 0.1, cold_share: 0.3, days: {days:g}}}
merging: {{kind: rrf, known_after: 5}}
"""


def rule(learned: Window) -> TrainConfig:
    """The training file for a set: the same for all but for the days that tables count.

    These are the last thirty, or where the log is so long that these are little of it, its last quarter.
    """
    days = max(_FEWEST_DAYS, (learned.end - learned.start) / timedelta(days=1) / _PART)
    return parse_config(_CHANNELS.format(days=days))
