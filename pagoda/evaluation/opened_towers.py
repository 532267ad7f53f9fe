"""What an evaluation needs of a version, and how its answers are scored."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.config.ensemble import CascadeShape
from pagoda.data.history.histories import Histories
from pagoda.evaluation.ranking import CascadeScorer, DotScorer, ExcludedPairs, Scorer

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


class OpenedTowers(Protocol):
    """A version's two towers, opened for a dataset."""

    @property
    def cascade(self) -> CascadeShape | None:
        """How vectors are read where the version is a cascade."""

    def item_vectors(self) -> Float32Array:
        """Vectors float32 [items, dim] of `Dataset.items()`, in its order."""

    def user_vectors(
        self, user_ids: Int64Array, timestamps_us: Int64Array, histories: Histories, context: pa.Table
    ) -> Float32Array:
        """Vectors float32 [n, dim] of users (int64 [n]) at moments (int64 [n]) with histories and raw context.

        Of several interests [n, interests, dim]. Asked once for all rows, so it should compute in parts.
        """

    def knows(self, user_ids: Int64Array) -> NDArray[np.bool_]:
        """Which users have an ID row of their own, bool [n]."""


def scorer_of(
    towers: OpenedTowers, user_vectors: Float32Array, item_vectors: Float32Array, excluded: ExcludedPairs
) -> Scorer:
    """Scores as the version's answers are ordered; vectors as `towers` gives them.

    What is `excluded` takes no place among the candidates of a cascade, as in serving; elsewhere it has a score.

    Raises:
        IntegrityError: A vector is not finite.
    """
    if towers.cascade is None:
        return DotScorer(user_vectors, item_vectors)
    return CascadeScorer(user_vectors, item_vectors, towers.cascade, excluded)
