"""Leave-one-out counts as the published figures do: one item a user, among all that the user did not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories
from pagoda.data.imports.sequences import LAST, import_sequences
from pagoda.data.window import to_us
from pagoda.evaluation.leave_one_out import leave_one_out

USERS, ITEMS, DIM = 40, 30, 6


class Known:
    """Vectors that are given; histories must be those of the moment."""

    cascade = None

    def __init__(self, sequences: dict[int, list[int]]) -> None:
        rng = np.random.default_rng(5)
        self.users, self.items = (rng.standard_normal((count, DIM)).astype(np.float32) for count in (USERS, ITEMS))
        self._sequences = sequences

    def item_vectors(self) -> NDArray[np.float32]:
        return self.items

    def user_vectors(
        self, user_ids: NDArray[np.int64], timestamps_us: NDArray[np.int64], histories: Histories, context: pa.Table
    ) -> NDArray[np.float32]:
        assert (timestamps_us == to_us(LAST)).all()
        assert context.num_rows == len(user_ids)
        padded = histories.padded()
        for user, items, mask in zip(user_ids, padded.items, padded.mask, strict=True):
            assert items[mask].tolist() == self._sequences[user][:-1]
        return self.users[user_ids]

    def knows(self, user_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.ones(len(user_ids), np.bool_)


def test_it_is_the_hit_rate_among_all_items_that_the_user_did_not_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    sequences = {user: rng.choice(ITEMS, rng.integers(3, 9), replace=False).tolist() for user in range(USERS)}
    sequences[0] = list(range(ITEMS))
    sequences[1] = [4, 5, 6, 4]
    text = "\n".join(" ".join(map(str, [user, *items])) for user, items in sequences.items())
    (tmp_path / "file").write_text(text)
    splits = import_sequences(tmp_path / "data", tmp_path / "file")
    towers = Known(sequences)
    found = leave_one_out(towers, Dataset.open(tmp_path / "data"), splits.test, at=(3, 10))

    ranks = []
    for user in sorted(set(sequences) - {1}):
        *before, target = sequences[user]
        scores = towers.items @ towers.users[user]
        others = [item for item in range(ITEMS) if item not in before]
        ranks.append(sum(scores[item] > scores[target] for item in others))
    assert (found.users, found.repeats) == (USERS - 1, 1)
    rank = np.array(ranks)
    for k in (3, 10):
        hit, gain = rank < k, np.where(rank < k, 1 / np.log2(rank + 2), 0)
        for name, values in (("hr", hit), ("ndcg", gain)):
            estimate = found.metrics[f"{name}@{k}"]
            assert estimate.value == pytest.approx(values.mean())
            assert estimate.low < estimate.value < estimate.high
            error = values.std() / np.sqrt(len(values))
            assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.2)
