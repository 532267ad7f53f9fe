"""One policy's answers: each question goes to the version that was serving at its moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pagoda.evaluation.offline import Questions
from pagoda.evaluation.opened_towers import Float32Array, OpenedTowers, scorer_of
from pagoda.evaluation.ranking import ExcludedPairs, Ranks, rank


@dataclass(frozen=True)
class Served:
    """What serves: user towers and the item vectors that were exported with them."""

    towers: OpenedTowers
    item_vectors: Float32Array


class Answering:
    """Ranks the targets of all questions in time order, switching versions on the way.

    A version answers what was asked from its own switch up to the next, so nothing is answered by a version that has
    learned it.
    """

    def __init__(self, questions: Questions, first: Served) -> None:
        self._questions, self._served = questions, first
        count = len(questions.rows)
        self._above, self._tied = np.zeros(count, np.int64), np.ones(count, np.int64)
        self._done = 0

    def switch(self, served: Served, moment_us: int) -> None:
        """From `moment_us` on, `served` answers."""
        self._answer_up_to(int(np.searchsorted(self._questions.rows.times_us, moment_us)))
        self._served = served

    def finish(self) -> Ranks:
        """Answer the rest and return the ranks of all questions."""
        self._answer_up_to(len(self._questions.rows))
        return Ranks(self._above, self._tied, {})

    def _answer_up_to(self, stop: int) -> None:
        start, self._done = self._done, max(self._done, stop)
        if start >= stop:
            return
        part, asked = slice(start, stop), self._questions
        users = self._served.towers.user_vectors(
            asked.rows.users[part],
            asked.rows.times_us[part],
            asked.histories["live"].take(np.arange(start, stop)),
            asked.rows.context.slice(start, stop - start),
        )
        seen = ExcludedPairs(*asked.seen.within(start, stop))
        scorer = scorer_of(self._served.towers, users, self._served.item_vectors, seen)
        ranks = rank(scorer, asked.targets[part], seen)
        self._above[part], self._tied[part] = ranks.above, ranks.tied
