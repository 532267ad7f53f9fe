"""`pagoda top`: rates and quantiles between two looks, and what a person sees of them."""

from __future__ import annotations

import io

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from rich.console import Console
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import UnavailableError
from pagoda.telemetry.scrape import MetricChange, Scrape, look, parse
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


def test_a_person_sees_arms_stages_what_stood_in_and_breakers() -> None:
    service = Service()
    for arm, generation in (("stable", "g3"), ("canary", "g4")):
        service.share.labels(arm, generation).set(0.5)
    before = service.look(0.0)
    service.answers.labels("canary", "g4").inc(20)
    service.stages.labels("canary", "total").observe(0.005)
    service.degraded.labels("canary", "g4", "tower_oov").inc(5)
    service.requests.labels("v1", "shed").inc(4)
    service.breaker.labels("tower 4").set(2)
    output = io.StringIO()
    Console(file=output, width=160).print(as_tables(MetricChange(before, service.look(2.0)), "http://recall"))
    shown = output.getvalue()
    for text in ("shed 2.0/s", "g4", "10.0", "25.0%", "tower_oov", "2.5", "tower 4 open"):
        assert text in shown
    assert "g3" not in shown  # it answered nobody


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
