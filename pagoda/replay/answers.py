"""One policy's answers: each question goes to the version that was serving at its moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pagoda.channels.mixture import OpenMixture
from pagoda.evaluation.channels.asking import MERGED, BoolArray, ask_mixture
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.offline import Questions
from pagoda.evaluation.opened_towers import Float32Array, OpenedTowers, scorer_of
from pagoda.evaluation.ranking import ExcludedPairs, Ranks, Scorer, rank
from pagoda.evaluation.relevance import Relevant

MERGED_AT = 50
"""Length of the answers that channels merge."""


@dataclass(frozen=True)
class Served:
    """What serves: user towers and the item vectors that were exported with them."""

    towers: OpenedTowers
    item_vectors: Float32Array
    mixture: OpenMixture | None = None
    """The version's channels; None where it declares none."""


class Answering:
    """Ranks the targets of all questions in time order, switching versions on the way.

    A version answers what was asked from its own switch up to the next, so nothing is answered by a version that has
    learned it.
    """

    def __init__(self, questions: Questions, first: Served, users: KnownUsers | None = None) -> None:
        """Take all questions, what answers from the start and, where versions declare channels, what these are told."""
        self._questions, self._users, self._served = questions, users, first
        count = len(questions.rows)
        self._above, self._tied = np.zeros(count, np.int64), np.ones(count, np.int64)
        self._found: BoolArray | None = None if users is None else np.zeros(count, np.bool_)
        self._done = 0

    @property
    def found(self) -> BoolArray | None:
        """After `finish`: bool [rows], whether the answer that channels merged had the target; None without them."""
        return self._found

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
        if self._found is not None and self._users is not None and self._served.mixture is not None:
            self._found[part] = self._merged(self._served.mixture, self._users.part(part), scorer, part, seen)

    def _merged(
        self, mixture: OpenMixture, users: KnownUsers, scorer: Scorer, part: slice, seen: ExcludedPairs
    ) -> BoolArray:
        (found,) = ask_mixture(
            mixture,
            users,
            scorer,
            self._questions.catalogue,
            relevant=Relevant.single(self._questions.targets[part]),
            excluded=seen,
            at=[MERGED_AT],
        )
        return found.found[MERGED]
