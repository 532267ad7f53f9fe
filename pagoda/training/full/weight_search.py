"""The weights of an ensemble whose configuration names none: what finds most of a grid once all members are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.history.histories import Histories
from pagoda.evaluation.metrics import ndcg
from pagoda.evaluation.opened_towers import OpenedTowers
from pagoda.evaluation.ranking import NOTHING_EXCLUDED, DotScorer, ExcludedPairs, rank
from pagoda.model.towers.ensemble import Ensemble
from pagoda.training.batches.batcher import Batch
from pagoda.training.full.preparation import Prepared
from pagoda.training.full.validation import Validator
from pagoda.training.full.version_writer import opened

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Weights = tuple[float, ...]
_STEPS = 10
_AT = 10
"""Of the NDCG by which weights are chosen where there is no validation."""


def choose_weights(
    prepared: Prepared, towers: Ensemble, validator: Validator | None, batch: Batch
) -> list[dict[str, Any]]:
    """Have each member count so much that most is found; return what is found by which weights, for people.

    Args:
        prepared: A first version whose members are trained.
        towers: Its towers, whose members count evenly. They are changed.
        validator: Says what is found; None: the positives of `batch` are, among its items.
        batch: Some of what was learned.
    """
    dims = [member.dim for member in towers.members]
    measure = _of_batch(prepared, batch) if validator is None else _of_validator(prepared, validator)
    found = {weights: measure(_scale(weights, dims)) for weights in grid(len(dims))}
    best = max(found, key=found.__getitem__)
    towers.weigh(best)
    return [{"weights": list(weights), "found": value} for weights, value in found.items()]


def _of_validator(prepared: Prepared, validator: Validator) -> Callable[[Float32Array], float]:
    once = _ComputedOnce(opened(prepared))
    return lambda scale: validator(_Reweighted(once, scale))


def _of_batch(prepared: Prepared, batch: Batch) -> Callable[[Float32Array], float]:
    """NDCG@10 of the batch's positives, without what is no negative of each."""
    users, items = (vectors.numpy(force=True) for vectors in prepared.learner.vectors(batch))
    targets = batch.targets.numpy()
    others = NOTHING_EXCLUDED if batch.masked is None else ExcludedPairs(*batch.masked.numpy())
    return lambda scale: float(ndcg(rank(DotScorer(users * scale, items * scale), targets, others), _AT).mean())


def grid(members: int) -> list[Weights]:
    """Weights in steps of 0.1 that add up to 1, the most even first: of several that find as much, it is taken."""
    counts = sorted(_counts(members, _STEPS), key=lambda each: (sum(count**2 for count in each), each))
    return [tuple(count / _STEPS for count in each) for each in counts]


def _counts(parts: int, total: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in _counts(parts - 1, total - first))


def _scale(weights: Weights, dims: Sequence[int]) -> Float32Array:
    """What the numbers of vectors by even weights are multiplied with, float32 [sum of dims]."""
    return np.repeat(np.sqrt(np.array(weights) * len(dims)), dims).astype(np.float32)


class _ComputedOnce:
    """The vectors of towers that are asked again and again, always for the same."""

    def __init__(self, towers: OpenedTowers) -> None:
        self._towers, self.items = towers, towers.item_vectors()
        self._users: Float32Array | None = None

    def users(
        self, user_ids: Int64Array, timestamps_us: Int64Array, histories: Histories, context: pa.Table
    ) -> Float32Array:
        if self._users is None:
            self._users = self._towers.user_vectors(user_ids, timestamps_us, histories, context)
        return self._users

    def knows(self, user_ids: Int64Array) -> NDArray[np.bool_]:
        return self._towers.knows(user_ids)


class _Reweighted:
    """Towers whose members count otherwise."""

    cascade = None

    def __init__(self, towers: _ComputedOnce, scale: Float32Array) -> None:
        self._towers, self._scale = towers, scale

    def item_vectors(self) -> Float32Array:
        """See `OpenedTowers`."""
        return self._towers.items * self._scale

    def user_vectors(
        self, user_ids: Int64Array, timestamps_us: Int64Array, histories: Histories, context: pa.Table
    ) -> Float32Array:
        """See `OpenedTowers`."""
        return self._towers.users(user_ids, timestamps_us, histories, context) * self._scale

    def knows(self, user_ids: Int64Array) -> NDArray[np.bool_]:
        """See `OpenedTowers`."""
        return self._towers.knows(user_ids)
