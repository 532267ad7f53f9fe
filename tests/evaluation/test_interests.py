"""What several interests are for: users of two tastes at once, of whom one vector knows the middle."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import recall
from pagoda.evaluation.offline import Questions, ask
from pagoda.evaluation.ranking import DotScorer, rank
from pagoda.model.table_inputs import histories_at
from pagoda.simulation import Drift, World, WorldConfig, simulate
from pagoda.training.full.update import full_update
from pagoda.version_files.open_version import OpenVersion

WORLD = WorldConfig(users=1_000, items=600, days=6, events=300_000, seed=11, new_users=0.0, tastes=2, drift=Drift.NONE)
SHOWN, OF_EACH, NEAR = 20, 3, 0.5
"""An answer holds a taste where so many of its items are nearest to it, with a true cosine of so much."""


def towers(data: Dataset, learned: Window, interests: int, out: Path) -> OpenVersion:
    history = {"kind": "self_attentive", "interests": interests, "hidden": 64}
    how = TrainConfig.model_validate(
        {"bootstrap_epochs": 6, "batch_size": 256, "model": {"dim": 16, "history": history}}
    )
    return OpenVersion(full_update(data, learned, None, how, out, programs=False), data)


def found(opened: OpenVersion, asked: Questions) -> NDArray[np.float64]:
    """Recall@50 of each question."""
    rows = asked.rows
    vectors = opened.user_vectors(rows.users, rows.times_us, asked.histories["live"], rows.context)
    return recall(rank(DotScorer(vectors, opened.item_vectors()), asked.targets, asked.seen), 50)


def hold_both(opened: OpenVersion, data: Dataset, world: World, end: Window) -> float:
    """Share of the users whose answers hold both tastes."""
    users, moments = world.user_ids, np.full(WORLD.users, end.start_us)
    state = histories_at(data, end.start, None, None)
    assert state is not None
    scores = DotScorer(opened.user_vectors(users, moments, state.read(users, moments)), opened.item_vectors())
    shown = np.argsort(-scores.block(slice(None)), axis=1)[:, :SHOWN]
    truth = np.einsum("ntd,nkd->nkt", world.interests(users, moments), world.item_table.vector[shown])
    held = np.stack([((truth.argmax(2) == taste) & (truth.max(2) > NEAR)).sum(1) for taste in (0, 1)])
    return float((held.min(0) >= OF_EACH).mean())


@pytest.mark.long
def test_four_interests_find_more_than_one_and_answers_hold_both_tastes(tmp_path: Path) -> None:
    simulate(WORLD, tmp_path / "data")
    data, world = Dataset.open(tmp_path / "data"), World.open(tmp_path / "data")
    span, cut = data.span(), data.span().end - timedelta(days=1)
    learned, later = Window(start=span.start, end=cut), Window(start=cut, end=span.end)
    asked = ask(data, later, protocol="each", limit=15_000, seed=0)
    one, four = (towers(data, learned, count, tmp_path / str(count)) for count in (1, 4))
    gain = resample((found(four, asked) - found(one, asked))[:, None], asked.rows.users)
    assert interval(gain.samples[:, 0])[0] > 0
    assert hold_both(four, data, world, later) > hold_both(one, data, world, later)
