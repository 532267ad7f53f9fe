"""Channels that give what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pagoda.channels.base import Allowed, Known, Ranked
from pagoda.channels.mixture import OpenMixture
from pagoda.config.training import parse_config

CONFIG = """
channels:
  - {kind: two_tower, share: 0.4, cold_share: 0.2}
  - {kind: item_to_item, share: 0.4, cold_share: 0.2}
  - {kind: popular, share: 0.2, cold_share: 0.6}
merging: {kind: %s}
"""
Gives = Callable[[Known], list[int]]


@dataclass
class TellingTable:
    """Gives what it was made to, and keeps what it is told of users."""

    gives: Gives
    told: list[Known] = field(default_factory=list)

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        self.told.append(known)
        ids = np.array(self.gives(known), np.int64)
        ids = ids[allowed(ids)][:k]
        return Ranked(ids, -np.arange(len(ids), dtype=np.float32))


def mixture_of(gives: Mapping[str, Gives], merging: str = "quota") -> OpenMixture:
    config = parse_config(CONFIG % merging)
    return OpenMixture(config.channels, config.merging, {kind: TellingTable(one) for kind, one in gives.items()})
