"""The ablation: every row is a configuration that changes something, and gains are paired with the first row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.ablation.__main__ import run
from benchmarks.ablation.document import document, table
from benchmarks.ablation.job import METRICS, Result
from benchmarks.ablation.techniques import BASE, BASELINE, TECHNIQUES, Technique
from pagoda.data.world import simulate
from pagoda.data.world.config import WorldConfig
from pagoda.training.config import TrainConfig


def test_every_row_changes_something() -> None:
    made = {each.name: TrainConfig.model_validate(BASE | each.change) for each in TECHNIQUES}
    assert len(made) == len(TECHNIQUES), "names tell rows apart"
    assert all(made[each.name] != made[BASELINE] for each in TECHNIQUES[1:])
    assert TECHNIQUES[0] == Technique("", BASELINE)


def test_gains_are_paired_with_the_first_row() -> None:
    rng, chosen = np.random.default_rng(0), [TECHNIQUES[0], TECHNIQUES[1]]
    users, values = np.repeat(np.arange(50), 4), rng.random((200, len(METRICS)))
    values[::2, 2] = np.nan
    found = {BASELINE: Result(users, values, 1.0), chosen[1].name: Result(users, values + 0.01, 2.0)}
    made = document(chosen, found)
    better = made["rows"][1]
    assert better["metrics"]["recall@50"]["value"] == pytest.approx(values[:, 0].mean() + 0.01)
    for metric in METRICS:
        gain = better["gains"][metric]
        assert (gain["low"], gain["value"], gain["high"]) == pytest.approx((0.01, 0.01, 0.01))
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table(made))
    assert "+0.0100 ±0.0000" in captured.get()


@pytest.mark.long
def test_rows_are_trained_on_one_world(tmp_path: Path) -> None:
    simulate(WorldConfig(users=80, items=300, days=4, events=20_000, seed=1), tmp_path / "data")
    names = {
        BASELINE,
        "2 hard, mined at ranks 101-500",
        "2 hard, rejected by ranking",
        "Transformer",
        "correlated views",
    }
    chosen = [each for each in TECHNIQUES if each.name in names]
    found = dict(run(chosen, tmp_path / "data", tmp_path, workers=2))
    made = document(chosen, found)
    assert [row["name"] for row in made["rows"]] == [each.name for each in chosen]
    assert all(row["metrics"]["recall@50"]["value"] > 0.2 for row in made["rows"])
