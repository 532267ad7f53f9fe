"""What a person sees of a replay on a narrow terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from pagoda.evaluation.estimates import METRICS
from pagoda.evaluation.report import Estimate
from pagoda.replay.estimates import MERGED_RECALL
from pagoda.replay.plan import Policy, ReplayConfig
from pagoda.replay.rendering import as_tables
from pagoda.replay.report import Cost, Difference, Figures, ReplayReport
from tests.evaluation.worlds import hours

PAIRS = [
    (Policy.BOTH, Policy.FULL),
    (Policy.BOTH, Policy.INCREMENTAL),
    (Policy.FULL, Policy.FROZEN),
    (Policy.INCREMENTAL, Policy.FROZEN),
]


def estimates(value: float) -> dict[str, Estimate]:
    names = [*METRICS, MERGED_RECALL]
    return {name: Estimate(value=value + n / 100, low=value - 0.01, high=value + 0.01) for n, name in enumerate(names)}


def report() -> ReplayReport:
    figures = Figures(
        rows=200_000,
        users=123_456,
        policies={policy: estimates(n / 10) for n, policy in enumerate(Policy)},
        paired=tuple(
            Difference(policy=one, minus=other, metrics=estimates(-0.3 - n / 10))
            for n, (one, other) in enumerate(PAIRS)
        ),
    )
    cost = Cost(seconds=123_456.7, cpu_seconds=1, full_updates=365, incremental_updates=17_520)
    return ReplayReport(
        config=ReplayConfig(),
        first=hours(0, 24),
        first_seconds=12_345,
        window=hours(24, 9_000),
        history=50,
        available=1,
        repeats=0,
        items=1_234_567,
        overall=figures,
        costs=dict.fromkeys(Policy, cost),
        hours=(),
        since_full=(),
    )


@pytest.mark.parametrize("width", [80, 100])
def test_every_policy_metric_cost_and_difference_stands_whole(width: int) -> None:
    out = StringIO()
    Console(file=out, width=width).print(as_tables(report()))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width and "…" not in out.getvalue()
    rows = [line.split() for line in lines]
    for row in (
        ["frozen", "full", "incremental", "full+incremental"],
        ["recall@50", "0.010±0.010", "0.110±0.010", "0.210±0.010", "0.310±0.010"],
        ["incremental", "updates", *["17,520"] * 4],
        ["seconds", *["123,456.7"] * 4],
        ["recall@50", *(f"{-0.29 - n / 10:+.4f}±0.0100" for n in range(4))],
        ["minus", "minus", "minus", "minus"],
        ["full", "incremental", "frozen", "frozen"],
    ):
        assert row in rows
    assert " ".join(out.getvalue().split()).count(f"{MERGED_RECALL} ") == 2
