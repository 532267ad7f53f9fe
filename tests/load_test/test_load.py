"""The load tool: open loop, seeded, and honest about what did not come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import ConfigError
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.report import LoadReport, report_of
from pagoda.load_test.sending import send

from .server import Pause, prediction, service


def run(plan: LoadPlan, url: str, connections: int = 16, **options: Any) -> LoadReport:
    return report_of(plan, send(plan, url, connections=connections, **options), url, connections)


def test_a_pause_is_counted_against_every_request_that_was_due_in_it() -> None:
    plan = LoadPlan(users=[1], rate=100, seconds=2, arrivals="constant")
    with service(Pause(at=0.5, seconds=1)) as url:
        outcomes = send(plan, url, connections=4)
    report = report_of(plan, outcomes, url, 4)
    assert (report.requests, report.answered) == (200, 200)
    # 100 requests were due in the second without answers; had each waited for the one before, four would be slow.
    assert sum(seconds > 0.4 for seconds in outcomes.seconds) >= 50
    assert report.latency_ms["max"] >= 900


def test_the_same_seed_asks_the_same_users_at_the_same_moments() -> None:
    plans = [LoadPlan(users=range(1, 101), rate=50, seconds=20, zipf=1.2, seed=seed) for seed in (3, 3, 4)]
    moments = [plan.moments() for plan in plans]
    assert np.array_equal(moments[0], moments[1])
    assert not np.array_equal(moments[0], moments[2])
    drawn = [plan.draw(5000) for plan in plans]
    assert np.array_equal(drawn[0], drawn[1])
    most = np.sort(np.bincount(drawn[0], minlength=100))[::-1]
    assert most[0] / most[9] == pytest.approx(10**1.2, rel=0.35)


def test_poisson_arrivals_vary_and_constant_ones_do_not() -> None:
    poisson = np.diff(LoadPlan(users=[1], rate=200, seconds=50).moments())
    constant = np.diff(LoadPlan(users=[1], rate=200, seconds=50, arrivals="constant").moments())
    assert poisson.mean() == pytest.approx(1 / 200, rel=0.05)
    assert poisson.std() == pytest.approx(1 / 200, rel=0.1)
    assert constant.std() < 1e-9


def test_every_end_of_a_request_is_counted_as_what_it_is() -> None:
    def answer(instance: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        match instance["user_id"] % 4:
            case 0:
                return 503, {"error": "later"}
            case 1:
                return 500, {"error": "broken"}
            case 2:
                return 200, prediction(degraded=["tower"], arm="canary")
        return 200, prediction(degraded=[])

    with service(answer) as url:
        report = run(LoadPlan(users=range(4), rate=400, seconds=0.5, zipf=0, k=7), url)
    assert report.answered + report.shed + report.errors == report.requests
    assert report.errors_by == {"HTTP 500": report.errors}
    assert report.degraded == report.degraded_by["tower"] == report.arms["canary"]
    assert min(report.shed, report.errors, report.degraded, report.arms["stable"]) > 10


def test_late_and_missing_answers_are_errors() -> None:
    with service(Pause(at=0, seconds=1)) as url:
        report = run(LoadPlan(users=[1], rate=20, seconds=0.4, arrivals="constant"), url, timeout_seconds=0.2)
    assert report.errors_by["timeout"] >= 5
    nobody = run(LoadPlan(users=[1], rate=20, seconds=0.3, arrivals="constant"), url, connections=2)
    assert nobody.errors_by == {"no answer": 6}
    assert nobody.latency_ms == {}


@pytest.mark.parametrize("answer", [{"hello": "world"}, {"predictions": [0.5, 1]}, {"predictions": None}])
def test_an_answer_of_another_service_is_an_error(answer: dict[str, Any]) -> None:
    with service(lambda _: (200, answer)) as url:
        report = run(LoadPlan(users=[1], rate=20, seconds=0.3, arrivals="constant"), url)
    assert report.errors_by == {"unreadable": 6}


def test_without_a_rate_connections_ask_again_when_answered() -> None:
    with service(lambda _: (200, prediction())) as url:
        report = run(LoadPlan(users=range(5), rate=0, seconds=0.5), url, connections=3)
    assert report.arrivals == "closed"
    assert report.answered == report.requests > 20


def test_the_command_writes_numbers_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "load.png"
    with service(lambda _: (200, prediction())) as url:
        options = ["load", url, "--rate", "50", "--seconds", "0.6", "--plot", str(picture)]
        as_json = CliRunner().invoke(app, [*options, "--output", "json"])
        table = CliRunner().invoke(app, options)
    assert json.loads(as_json.stdout)["answered"] > 10
    assert "p99.9 ms" in table.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("url", ["localhost:8080", "http://", "http://localhost:port", "http://localhost:99999"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(ConfigError, match=url):
        send(LoadPlan(users=[1], rate=1, seconds=1), url, connections=1)
