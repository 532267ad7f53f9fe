"""How long the steps of rows and towers are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typing_extensions import override

from pagoda.training.batches.batcher import Batch
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.training.learner.learner import Learner
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.tables import TrainableTable
from tests.training.worlds import config, hours, make


def steps_of(memory: float, count: int) -> list[float]:
    """Lengths of a row's steps under gradients of ones."""
    table, lengths = TrainableTable(np.array([7]), torch.zeros(2, 4), torch.zeros(2)), []
    for _ in range(count):
        before = table.rows[1].clone()
        adagrad_step(table, torch.tensor([1]), [torch.ones(1, 4)], 0.1, memory)
        lengths.append(float((before - table.rows[1])[0]))
    assert not table.rows[0].any()
    return lengths


def test_adagrads_steps_shrink_for_ever_and_with_a_memory_until_it_is_full() -> None:
    assert steps_of(1.0, 400) == pytest.approx(0.1 / np.sqrt(np.arange(1, 401)), rel=1e-3)
    forgetting = steps_of(0.9, 400)
    assert forgetting[0] == pytest.approx(0.1, rel=1e-3)
    assert forgetting[1] == pytest.approx(0.1 / np.sqrt(1.9), rel=1e-3)
    assert forgetting[100] == pytest.approx(forgetting[399], rel=1e-3) == pytest.approx(0.1 * np.sqrt(0.1), rel=1e-2)


def test_learning_slows_down_over_the_last_share_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paces: list[float] = []
    learn = Learner.learn

    def watched(learner: Learner, batch: Batch) -> float:
        paces.append(learner.optimiser.param_groups[0]["lr"])
        return learn(learner, batch)

    monkeypatch.setattr(Learner, "learn", watched)
    optimiser = {"cooldown": 0.5, "dense_learning_rate": 0.01}
    full_update(make(tmp_path / "data"), hours(0, 20), None, config(optimiser=optimiser), tmp_path / "out")
    half = len(paces) // 2
    assert paces[:half] == [0.01] * half
    falling = np.diff(paces[half:])
    assert (falling <= 0).all()
    assert paces[-1] < 0.1 * 0.01


@pytest.mark.parametrize("positives", [{"repeat_below": 0.05}, {"thin_above": 0.005}])
def test_learning_slows_down_over_what_is_learned_where_positives_are_thinned_or_repeated(
    tmp_path: Path, positives: dict[str, float]
) -> None:
    how = config(positives=positives, optimiser={"cooldown": 0.5}, batch_size=32)
    prepared = prepare(make(tmp_path / "data"), hours(0, 40), None, how)
    paces: list[float] = []

    class Watching(Silent):
        @override
        def advance(self, positives: int, loss: float) -> None:
            paces.append(prepared.learner.optimiser.param_groups[0]["lr"] / how.optimiser.dense_learning_rate)

    train(prepared, how, 2, Watching())
    # How many positives are drawn is chance, so the last step or two may find that all are learned.
    assert np.count_nonzero(paces) >= len(paces) - 2
    assert paces[len(paces) // 4] == 1
    assert paces[-1] < 0.3
