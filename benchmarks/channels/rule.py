"""The one training file of all sets: default towers, and channels whose shares were chosen on validation parts."""

from __future__ import annotations

from pagoda.config.training import TrainConfig, parse_config

K = 200
"""Length of the answers."""
CHANNELS = """
channels:
  - {kind: two_tower, share: 0.5, cold_share: 0.2}
  - {kind: item_to_item, share: 0.3, cold_share: 0.2, days: 36500}
  - {kind: popular, share: 0.2, cold_share: 0.6, days: 36500}
"""


def rule() -> TrainConfig:
    """The same for every set, whatever is in it."""
    return parse_config(CHANNELS)
