"""What the benchmark of pre-rankers finds on a world whose truth is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.prerank.__main__ import as_tables, measured
from benchmarks.prerank.world import HOW, WORLD, offered
from pagoda.config.prerank import PrerankConfig

CANDIDATES = 300


@pytest.mark.long
def test_a_pre_ranker_orders_better_than_the_cosine_on_the_day_after(tmp_path: Path) -> None:
    world = WORLD.model_copy(update={"users": 1500, "items": 600, "events": 400_000, "seed": 3})
    how = HOW.model_copy(update={"prerank": PrerankConfig(candidates=CANDIDATES), "bootstrap_epochs": 2})
    first, second, *curve, request = rows = measured(offered(tmp_path, world, how, print), requests=50)
    assert second["gain_low"] > 0
    assert first["gain_high"] > 0, "by its rehearsal it is not worse, at least"
    assert [first["version"], second["version"]] == [1, 2]
    assert [len(point["groups"]) for point in curve] == sorted(len(point["groups"]) for point in curve)
    assert sum(point["chosen"] for point in curve) == 1
    assert {"total_with_p50_ms", "total_without_p50_ms", "prerank_with_p99_ms", "score_ms"} <= set(request)
    assert [table.row_count for table in as_tables(rows)] == [2, len(curve), 3]
