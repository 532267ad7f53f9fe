"""bench-online removes what it says it removes, and makes one document of what it measured."""

from __future__ import annotations

import asyncio
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.online import without
from benchmarks.online.document import PARTS, as_tables, assemble
from pagoda.settings import Settings
from serving.recall import factory
from serving.recall.servers.factory import open_tower

SYSTEMS = {
    "bare": ("app",),
    "compact": ("redis", "recall"),
    "straightforward": (*PARTS, "app"),
    "pagoda": (*PARTS, "recall"),
    "kserve_tower": ("tower", "recall", "redis", "milvus"),
}
IN_TURN = ("bare", "compact", "pagoda", "kserve_tower", *(f"without {stage}" for stage in without.REMOVED))


@pytest.fixture
def stages() -> dict[str, Any]:
    """What makes each part of a recall service just now."""
    return {stage: getattr(module, name) for stage, (module, name, _) in without.REMOVED.items()}


def test_a_removed_stage_is_not_asked(stages: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage, (module, name, _) in without.REMOVED.items():
        monkeypatch.setattr(module, name, stages[stage])  # Put back when the test is over.
        without.remove(stage)
    assert factory.OnlineStore is without.NoStore

    async def ask() -> tuple[object, object]:
        search = factory.open_search(Settings(home=tmp_path), lambda: None)
        async with open_tower(Settings(home=tmp_path)) as tower:
            return type(search), type(tower)

    assert asyncio.run(ask()) == (without.NoIndex, without.NoTower)


def test_the_document_has_the_compact_platform_and_kserve_beside_pagoda(measured: dict[str, Any]) -> None:
    document = json.loads(json.dumps(assemble(measured)))
    assert document["compact"].keys() == document["kserve_tower"].keys() == document["pagoda"].keys()
    ratios = document["ratios"]
    assert ratios["compact_p50_to_bare"] == 1.5, "by the rounds in turn"
    assert ratios["compact_rps_to_bare"] == 0.75
    assert ratios["channels_rps_to_two_tower_compact"] == ratios["channels_rps_to_two_tower_full"] == 0.7
    Console(file=(told := StringIO()), width=200).print(as_tables(document))
    for line in (*SYSTEMS, "limit", *PARTS, "popular"):
        assert f"\n{line} " in told.getvalue()


@pytest.fixture
def measured() -> dict[str, Any]:
    """Made-up rows, as `OnlineBench.all` gives them."""
    quantiles = {"p50": 8.0, "p95": 9.0, "p99": 10.0}
    timings = {f"stage_{name}": 1.0 for name in ("store", "tower", "index")} | {"stage_total": 4.0}
    in_turn = dict.fromkeys(IN_TURN, quantiles | timings)
    in_turn |= {name: {"p50": 2.0, "p99": 3.0} for name in PARTS} | {"own": {"p50": 2.0}}
    in_turn["compact"] = in_turn["compact"] | {"p50": 3.0}
    in_turn["bare"] = quantiles | {"p50": 2.0}
    rates = {**dict.fromkeys(SYSTEMS, 400.0), "compact": 900.0, "bare": 1200.0}
    return {
        "items": 1000,
        "limit": _service(("limit",), ("1", "2")) | {"max_rps_at_p99_50ms": 1500.0},
        **{name: _service(processes) for name, processes in SYSTEMS.items()},
        "parts": {name: {"cpu_ms_per_request": 0.4, "rps_32_at_once": 2000.0, "p50_repeated": 1.0} for name in PARTS},
        "one_connection": in_turn,
        "sustained": {name: _kept_up(rate) for name, rate in rates.items()},
        "channels": {
            "by_channel": {name: {"items": 50.0, "ms": 0.3} for name in ("two_tower", "popular", "all")},
            **{profile: {"two_tower": _kept_up(500.0), "all": _kept_up(350.0)} for profile in ("full", "compact")},
        },
        "without": {stage: {"cpu_ms_per_request": 1.0} for stage in without.REMOVED},
    }


def _kept_up(rate: float) -> dict[str, Any]:
    return {"max_rps_at_p99_50ms": rate, "cpu_ms_at_max_rps": {"recall": 0.7, "load": 0.2}}


def _service(processes: tuple[str, ...], connections: tuple[str, ...] = ("1", "8", "32")) -> dict[str, Any]:
    return {
        **{quantile: dict.fromkeys(connections, 5.0) for quantile in ("p50", "p95", "p99")},
        "cpu_ms_per_request": 1.5,
        "cpu_ms_by_process": {**dict.fromkeys(processes, 0.5), "load": 0.3},
        "recall_at_100": 0.99,
    }
