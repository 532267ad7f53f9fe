"""ID rows stay with their IDs as the vocabulary grows, and a step changes only the rows that it touches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pagoda.embeddings.table import IdTable
from pagoda.training.batches.batcher import Numbering
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.tables import OOV, TrainableTable

ids = st.lists(st.integers(-30, 30), max_size=12, unique=True).map(lambda values: np.array(values, np.int64))


def table(of: np.ndarray) -> TrainableTable:
    made = TrainableTable.first(of, 3, torch.Generator().manual_seed(1))
    made.squares += torch.arange(len(made.squares))
    return made


@given(ids, ids)
def test_rows_and_optimiser_state_stay_with_their_ids(old: np.ndarray, new: np.ndarray) -> None:
    before = table(old)
    before.rows[OOV] = 9
    after = before.grown(new, torch.Generator().manual_seed(2))
    assert after.ids.tolist() == sorted({*old.tolist(), *new.tolist()})
    assert torch.equal(after.rows[after.places(old)], before.rows[before.places(old)])
    assert torch.equal(after.squares[after.places(old)], before.squares[before.places(old)])
    assert torch.equal(after.rows[OOV], before.rows[OOV])
    added = np.setdiff1d(new, old)
    assert (after.rows[after.places(added)] - 9).abs().max() < 1 if len(added) else True
    assert not after.squares[after.places(added)].any()
    assert (after.places(np.array([[99, -99]])) == OOV).all()


def test_a_table_comes_back_from_its_files(tmp_path: Path) -> None:
    before = table(np.array([5, -2, 8]))
    before.rows[OOV] = 0.5
    before.write(tmp_path / "users")
    after = TrainableTable.of(IdTable.open(tmp_path / "users", verify=True), before.squares.numpy())
    assert torch.equal(after.rows, before.rows)
    assert after.places(np.array([8, -2, 5])).tolist() == [3, 1, 2]


@given(st.lists(st.integers(0, 9), max_size=40))
def test_numbering_names_each_place_once(places: list[int]) -> None:
    numbering = Numbering(10)
    for _ in range(2):
        distinct, number = numbering.distinct(np.array(places, np.int64))
        assert sorted(distinct.tolist()) == sorted(set(places))
        assert distinct[number].tolist() == places


def test_a_step_is_row_wise_adagrad_and_leaves_the_others_alone() -> None:
    made = table(np.arange(4))
    before, squares = made.rows.clone(), made.squares.clone()
    gradient = torch.randn(2, 3)
    adagrad_step(made, torch.tensor([3, 1]), [gradient], 0.5)
    for row, place in enumerate([3, 1]):
        total = squares[place] + sum(float(g) ** 2 for g in gradient[row]) / 3
        torch.testing.assert_close(made.squares[place], total)
        torch.testing.assert_close(made.rows[place], before[place] - 0.5 * gradient[row] / total**0.5)
    assert torch.equal(made.rows[[0, 2, 4]], before[[0, 2, 4]])
    assert torch.equal(made.squares[[0, 2, 4]], squares[[0, 2, 4]])
