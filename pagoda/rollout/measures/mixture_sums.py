"""What each channel gave, by user: its part of the answers' items, and of the candidates that it was asked for.

An item counts for the first channel that had it, as in the merging: by all that name it, a channel would lose where the
towers' lists move away from it, though nothing is wrong with its own.
"""

from __future__ import annotations

import numpy as np

from pagoda.generations.arms import ARMS
from pagoda.rollout.measures.base import ChannelSums, UserSums
from pagoda.rollout.measures.by_user import ByUser
from pagoda.rollout.measures.outcomes import Flag, OutcomeBatch, own_answers

MOST_USERS = 1 << 18
"""Some 20 MB with four channels; what gates ask of channels is gross, so fewer users suffice than for clicks."""
_ANSWERS, _PARTS = 0, 1
_EACH = 2


class MixtureTable(ByUser):
    """What each user got of each channel, by arm."""

    def __init__(self, channels: tuple[str, ...], most_users: int = MOST_USERS) -> None:
        """Nothing is known of anybody yet, nor of any channel but these ever."""
        super().__init__(("_sums",), most_users)
        self._channels = channels
        self._sums = np.zeros((0, len(ARMS), _PARTS + _EACH * len(channels)), np.float32)

    def add(self, batch: OutcomeBatch, since_us: int) -> None:
        """Take in a batch's answers since a moment, if it tells of these channels.

        A service that lags behind the log compares other arms, and one of another release may compare other channels.
        """
        if not batch.channels or batch.channels != self._channels:
            return
        own = own_answers(batch.rows)
        rows, later = batch.rows[own], batch.rows["time_us"][own] >= since_us
        rows, parts = rows[later], batch.mixtures[later].reshape(-1, _EACH * len(self._channels))
        kept, place = self._places(rows["user"])
        counted = np.column_stack([np.ones(np.count_nonzero(kept), np.float32), parts[kept].astype(np.float32)])
        np.add.at(self._sums, (place, (rows["flags"][kept] & Flag.CANARY).astype(np.intp)), counted)

    def sums(self, arm: int) -> dict[str, ChannelSums]:
        """By channel, of one arm; of none before anything was told of them in either."""
        if not len(self._user):
            return {}
        answers, parts = self._sums[:, arm, _ANSWERS], self._sums[:, arm, _PARTS:]
        each = [UserSums.of(answers, part) for part in parts.T]
        return dict(zip(self._channels, map(ChannelSums, each[::_EACH], each[1::_EACH]), strict=True))
