"""An evaluation by several processes says what one says, of every method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.data.spec import FeatureSpec, History
from pagoda.evaluation import dealt_ranking, ranking
from pagoda.evaluation.evaluate import evaluate

from .worlds import Event, NotingTowers, hours, write_dataset

ITEMS = 30


def test_the_report_is_that_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    events: list[Event] = [
        (int(rng.integers(20)), 100 + int(item), hour, "click")
        for hour in range(60)
        for item in rng.choice(ITEMS, 5, replace=False, p=np.arange(1, ITEMS + 1) / (ITEMS * (ITEMS + 1) / 2))
    ]
    dataset = write_dataset(tmp_path / "data", events, ITEMS, FeatureSpec(history=History(length=3)))

    def report(processes: int) -> str:
        towers = NotingTowers(ITEMS, known=range(15))
        return evaluate(towers, dataset, hours(40, 61), repeats=True, processes=processes).model_dump_json(indent=1)

    alone = report(1)
    assert all(f'"{method}"' in alone for method in ("live", "frozen", "ease", "popularity", "random"))
    dealt, slices = dealt_ranking.dealt, []

    def noted(work: Any, parts: list[slice], processes: int, what: str) -> Iterator[Any]:
        slices.extend(parts)
        return dealt(work, parts, processes, what)

    monkeypatch.setattr(dealt_ranking, "_BLOCKS", 1)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 7 * 4 * ITEMS)
    monkeypatch.setattr(dealt_ranking, "dealt", noted)
    assert report(2) == alone
    assert len(slices) == 2
