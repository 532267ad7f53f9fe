"""What a teacher has scored for each user, of which some is learned at each positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError
from pagoda.training.distillation.score_file import Scores, Teacher, read_scores
from pagoda.training.tables import TrainableTable
from pagoda.training.user_lists import UserLists

Int64Array = NDArray[np.int64]
_FEWEST = 2
"""One item has no order."""


class ScoredLists:
    """Each user's scored items, drawn without replacement."""

    def __init__(self, scores: Scores, users: int, count: int, seed: int) -> None:
        """Lay out `scores` by user; `count` of a list are drawn at a time, from a table of so many `users`."""
        self.count = count
        self._lists, order = UserLists.of(scores.pairs.users, users, seed)
        self._items, self._logits = scores.pairs.items[order], scores.logits[order]

    def draw(self, users: Int64Array, rng: np.random.Generator) -> tuple[Int64Array, NDArray[np.float32]]:
        """Draw for each of `users` (int64 [B], places in the table).

        Returns:
            Items int64 [B, count], -1 where a list has no more, and the teacher's logits float32 [B, count], then -inf.
        """
        places = self._lists.draw(users, self.count, rng)
        there = places >= 0
        return np.where(there, self._items[places], -1), np.where(there, self._logits[places], -np.inf)


def scored_lists(
    config: TrainConfig, teacher: Teacher | None, dataset: Dataset, users: TrainableTable, catalogue: Int64Array
) -> ScoredLists | None:
    """What the configuration asks for; None where it asks for nothing.

    Raises:
        ConfigError: The teacher has scored no two items for any user.
        DataError: As for `read_scores`.
    """
    distillation = config.distillation
    if distillation is None or teacher is None or not distillation.weight:
        return None
    scores = read_scores(teacher, dataset, users, catalogue, config.seed)
    if np.bincount(scores.pairs.users, minlength=1).max() < _FEWEST:
        raise ConfigError(
            f"{teacher.file}: has no two items of {dataset.path} for any user with a positive, so there is no order to "
            "learn; are its IDs those of the dataset?"
        )
    return ScoredLists(scores, len(users), distillation.items, config.seed)
