"""The ablation: every row is a configuration that changes something, and gains are paired with the first row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.ablation.__main__ import rows, run
from benchmarks.ablation.document import document, table
from benchmarks.ablation.features import DENSE, TEXT, declare
from benchmarks.ablation.job import ASKED, METRICS
from benchmarks.ablation.techniques import BASE, BASELINE, TECHNIQUES, Technique, named
from benchmarks.kept_run import KeptRun, UserValues
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.simulation import World, simulate
from pagoda.simulation.config import WorldConfig


def test_every_row_changes_something() -> None:
    made = {
        each.name: (TrainConfig.model_validate(BASE | each.change), each.features, each.penalty) for each in TECHNIQUES
    }
    assert len(made) == len(TECHNIQUES), "names tell rows apart"
    assert all(made[each.name] != made[BASELINE] for each in TECHNIQUES[1:])
    assert TECHNIQUES[0] == Technique("", BASELINE)


def test_a_row_that_is_not_there_is_refused() -> None:
    assert [each.name for each in named(["SENet gate"])] == [BASELINE, "SENet gate"]
    with pytest.raises(ValueError, match=r"no rows are called \['Transformer'\]; there are .*'SENet gate'"):
        named(["SENet gate", "Transformer"])


def test_features_of_a_row_stand_beside_the_worlds_own(tmp_path: Path) -> None:
    simulate(WorldConfig(users=20, items=60, days=1, events=1_000, seed=1), tmp_path / "data")
    plain, world = Dataset.open(tmp_path / "data"), World.open(tmp_path / "data")
    described = declare(tmp_path / "data", (TEXT, DENSE), tmp_path / "described")
    assert described.items().drop_columns(["text", "dense"]).equals(plain.items())
    assert described.count() == plain.count()
    vectors = np.array(described.items()["dense"].to_pylist())
    true = world.item_table.vector
    assert 0.5 < (vectors * true).sum(1).mean() < 0.9
    texts = [set(text.split()) for text in described.items()["text"].to_pylist()]
    assert {len(words) for words in texts} == {2}
    assert len(set().union(*texts)) > 24, "words have forms"


def test_gains_are_paired_with_the_first_row() -> None:
    rng, chosen = np.random.default_rng(0), [TECHNIQUES[0], TECHNIQUES[1]]
    users, values = np.repeat(np.arange(50), 4), rng.random((200, len(METRICS)))
    values[::2, 2] = np.nan
    found = {BASELINE: row(users, values), chosen[1].name: row(users, values + 0.01)}
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


def row(users: np.ndarray, values: np.ndarray) -> KeptRun:
    return KeptRun({ASKED: UserValues(users, dict(zip(METRICS, values.T, strict=True)))}, {"cpu_seconds": 1.0})


def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.ablation.__main__.simulate", lambda *_: None)
    trained: list[str] = []

    def run(techniques: list[Technique], *_: object) -> Iterator[tuple[str, KeptRun]]:
        for each in techniques:
            if len(trained) == 2:
                raise KeyboardInterrupt
            trained.append(each.name)
            yield each.name, row(np.arange(3), np.full((3, len(METRICS)), len(trained)))

    monkeypatch.setattr("benchmarks.ablation.__main__.run", run)
    chosen = named(["pointwise", "no blocks"])
    with pytest.raises(KeyboardInterrupt):
        rows(chosen, tmp_path, 1)
    assert trained == [BASELINE, "pointwise"]
    del trained[:]
    found = rows(chosen, tmp_path, 1)
    assert trained == ["no blocks"]
    assert [found[each.name].asked[ASKED].matrix[0, 0] for each in chosen] == [1, 2, 1]
    del trained[:]
    rows(named(["2 hard, mined at ranks 101-500"]), tmp_path, 1)
    assert trained == [BASELINE, "2 hard, mined at ranks 101-500"], "it needs the first row's version"


@pytest.mark.long
def test_rows_are_trained_on_one_world(tmp_path: Path) -> None:
    simulate(WorldConfig(users=80, items=300, days=4, events=20_000, seed=1), tmp_path / "data")
    chosen = named(
        [
            "2 hard, mined at ranks 101-500",
            "2 hard, rejected by ranking",
            "2 hard, one of each source",
            "along sequences, Transformer",
            "correlated views",
            "penalty 0.03 at search time",
            "letter n-grams of a text",
            "dense vector",
        ]
    )
    found = dict(run(chosen, tmp_path / "data", tmp_path, workers=2))
    made = document(chosen, found)
    assert [row["name"] for row in made["rows"]] == [each.name for each in chosen]
    assert all(row["metrics"]["recall@50"]["value"] > 0.2 for row in made["rows"])
    (penalised,) = (row for row in made["rows"] if row["penalty"])
    assert penalised["cpu_seconds"] == 0
    assert penalised["gains"]["recall@50 tail"]["value"] > 0 > penalised["gains"]["recall@50 head"]["value"]
