"""`pagoda top`: rates and quantiles between two looks, and what a person sees of them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from rich.console import Console
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import UnavailableError
from pagoda.telemetry import scrape
from pagoda.telemetry.scrape import MetricChange, Scrape, look, parse
from pagoda.telemetry.service_state import state_of
from pagoda.telemetry.tables import as_tables


class Service:
    """The metrics of a service, as it names them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        arm = ("arm", "generation")
        self.answers = Counter("pagoda_recall_answers", "", arm, registry=self.registry)
        self.requests = Counter("pagoda_recall_requests", "", ("protocol", "outcome"), registry=self.registry)
        self.degraded = Counter("pagoda_recall_degraded_answers", "", (*arm, "step"), registry=self.registry)
        self.breaker = Gauge("pagoda_recall_breaker_state", "", ("server",), registry=self.registry)
        self.share = Gauge("pagoda_recall_arm_share", "", arm, registry=self.registry)
        self.until = Gauge(
            "pagoda_recall_generation_window_end_timestamp_seconds", "", ("arm",), registry=self.registry
        )
        self.stages = Histogram(
            "pagoda_recall_stage_seconds", "", ("arm", "stage"), buckets=(0.001, 0.01, 0.1), registry=self.registry
        )

    def look(self, at: float) -> Scrape:
        return parse(generate_latest(self.registry).decode(), at)


def test_rates_and_quantiles_are_those_of_the_time_between() -> None:
    service = Service()
    service.stages.labels("stable", "tower").observe(0.05)
    service.answers.labels("stable", "g3").inc(7)
    before = service.look(10.0)
    for _ in range(99):
        service.stages.labels("stable", "tower").observe(0.005)
    service.stages.labels("stable", "tower").observe(5.0)
    service.answers.labels("stable", "g3").inc(40)
    change = MetricChange(before, service.look(14.0))
    assert change.rate("pagoda_recall_answers_total", arm="stable") == 10.0
    p50, p999 = (change.quantile(share, "pagoda_recall_stage_seconds", stage="tower") for share in (0.5, 0.999))
    assert p50 == pytest.approx(0.001 + 0.009 * 50 / 99)
    assert p999 == 0.1  # beyond the last bucket nothing is known
    assert change.quantile(0.5, "pagoda_recall_stage_seconds", stage="store") is None


def test_a_service_that_was_started_again_counts_from_zero() -> None:
    old, new = Service(), Service()
    old.answers.labels("stable", "g3").inc(1000)
    new.answers.labels("stable", "g3").inc(6)
    assert MetricChange(old.look(0.0), new.look(2.0)).rate("pagoda_recall_answers_total") == 3.0


def busy() -> MetricChange:
    """Two seconds of a service with a canary, in trouble."""
    service = Service()
    for arm, generation in (("stable", "g12.345"), ("canary", "g346.360"), ("shadow", "g400")):
        service.share.labels(arm, generation).set(0.5)
        service.until.labels(arm).set(datetime.now(UTC).timestamp() - 754)
    before = service.look(0.0)
    service.answers.labels("stable", "g12.345").inc(24_690)
    service.answers.labels("canary", "g346.360").inc(20)
    service.answers.labels("warm-up", "g346.360").inc(20)
    for stage in ("store", "tower", "index", "total"):
        for arm in ("stable", "canary"):
            service.stages.labels(arm, stage).observe(0.005)
    service.degraded.labels("canary", "g346.360", "tower_oov").inc(5)
    for outcome in ("ok", "refused", "shed", "unavailable", "failed"):
        service.requests.labels("v1", outcome).inc(4)
    for number, state in enumerate((0, 1, 2, 0, 0, 0)):
        service.breaker.labels(f"tower 10.0.0.{number}:7070").set(state)
    return MetricChange(before, service.look(2.0))


@pytest.mark.parametrize("width", [80, 100])
def test_a_person_sees_arms_stages_what_stood_in_and_breakers(width: int) -> None:
    output = io.StringIO()
    Console(file=output, width=width).print(as_tables(state_of(busy(), "http://recall.pagoda.example.org:8080")))
    lines = [line.rstrip() for line in output.getvalue().splitlines()]
    assert max(map(len, lines)) <= width and "…" not in output.getvalue()
    assert lines[1].split() == ["ok", "refused", "shed", "unavailable", "failed", "in", "flight", "events/s"]
    rows = [line.split() for line in lines]
    for row in (
        ["arm", "stable", "canary"],
        ["generation", "g12.345", "g346.360"],
        ["share", "of", "users", "50%", "50%"],
        ["users/s", "12,345.0", "10.0"],
        ["degraded", "0.0%", "25.0%"],
        ["data", "until", "13", "min", "ago", "13", "min", "ago"],
        ["tower", "p50", "/", "p99,", "ms", "5.5", "/", "9.9", "5.5", "/", "9.9"],
        ["tower_oov", "2.5", "5"],
    ):
        assert row in rows
    assert "tower 10.0.0.1:7070 half open" in output.getvalue() and "tower 10.0.0.2:7070 open" in output.getvalue()
    assert "g400" not in output.getvalue()  # it answered nobody


def test_a_script_reads_the_same_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    change = busy()
    looks = iter((change.before, change.now))
    monkeypatch.setattr(scrape, "look", lambda *_: next(looks))
    result = CliRunner().invoke(app, ["top", "http://recall", "--output", "json", "--every", "0.2"])
    found = json.loads(result.stdout)
    stable, canary = found["arms"]
    assert (canary["generation"], canary["users_per_second"], canary["degraded"]) == ("g346.360", 10.0, 0.25)
    assert stable["stages"]["tower"]["p99_ms"] == pytest.approx(9.91)
    assert found["requests_per_second"]["shed"] == 2.0 and found["stood_in"]["tower_oov"]["total"] == 5
    assert found["breakers"]["tower 10.0.0.1:7070"] == "half open"


def test_a_service_that_does_not_answer_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        look("http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["top", "http://127.0.0.1:9", "--once"])
    assert isinstance(result.exception, UnavailableError)


def test_what_is_no_recall_service_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match="http://a:b"):
        look("http://a:b")
    page = httpx.Response(200, text="<html>no metrics</html>", request=httpx.Request("GET", "http://other"))
    monkeypatch.setattr(httpx, "get", lambda *_, **__: page)
    with pytest.raises(UnavailableError, match="metrics of http://other: not in Prometheus' text format"):
        look("http://other")
