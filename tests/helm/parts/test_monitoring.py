"""Alerts and dashboard: valid PromQL, of metrics that somebody exports, each alert explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import promql_parser
import pytest

from helm.generate.chart import CHART, ROOT
from tests.helm.charts import Chart, in_profile

METRIC = re.compile(r'(Counter|Gauge|Histogram)\(\s*"(pagoda_\w+)"')
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}
OTHERS = re.compile(r"up|kube_\w+")
"""Prometheus' own, and kube-state-metrics'."""


@pytest.fixture
def production() -> Chart:
    """The profile with alerts."""
    return in_profile("production", "items.kafka.servers=kafka:9092")


def _rules(chart: Chart) -> list[dict[str, str]]:
    (rules,) = chart.of("PrometheusRule")
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def _panels() -> list[str]:
    dashboard = json.loads((CHART / "dashboards" / "pagoda.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def _exported() -> set[str]:
    sources = (path.read_text() for folder in ("serving", "pagoda") for path in (ROOT / folder).rglob("*.py"))
    found = (match for source in sources for match in METRIC.finditer(source))
    return {match[2] + suffix for match in found for suffix in SUFFIXES[match[1]]}


def _metrics(expression: str) -> Iterator[str]:
    promql_parser.parse(expression)
    yield from re.findall(r"(?<![\"\w])(pagoda_\w+|kube_\w+|up)(?=\{|\[|\))", expression)


def test_should_measure_only_what_is_exported(production: Chart) -> None:
    expressions = [rule["expr"] for rule in _rules(production)] + _panels()
    used = {metric for expression in expressions for metric in _metrics(expression)}
    assert {metric for metric in used if not OTHERS.fullmatch(metric)} <= _exported()
    assert len(used) > 8


def test_should_scale_by_a_metric_that_is_exported(production: Chart) -> None:
    metrics = production.one("HorizontalPodAutoscaler", "pagoda-recall")["spec"]["metrics"]
    assert metrics[0]["pods"]["metric"]["name"] in _exported()
    assert metrics[1]["resource"]["name"] == "cpu"


def test_should_explain_every_alert(production: Chart) -> None:
    documented = (ROOT / "docs" / "kubernetes.md").read_text()
    for rule in _rules(production):
        assert f"#### {rule['alert']}\n" in documented, rule["alert"]
        assert rule["annotations"]["runbook"] == f"docs/kubernetes.md#{rule['alert'].lower()}"


def test_should_forget_a_failed_retention_once_one_succeeds(production: Chart) -> None:
    # The failed Job itself stays until three more have failed.
    (rule,) = [rule for rule in _rules(production) if rule["alert"] == "PagodaRetentionFailed"]
    assert set(_metrics(rule["expr"])) == {
        "kube_job_status_start_time",
        "kube_job_status_failed",
        "kube_cronjob_status_last_successful_time",
    }
    began, succeeded = rule["expr"].split(" > (")
    assert began.startswith("max(kube_job_status_start_time{") and succeeded.endswith(" or vector(0))")


def test_should_make_alerts_findable_by_prometheus() -> None:
    chart = in_profile("production", "monitoring.labels.release=kube-prometheus-stack")
    for kind in ("PrometheusRule", "ServiceMonitor"):
        assert all(one["metadata"]["labels"]["release"] == "kube-prometheus-stack" for one in chart.of(kind))


def test_should_scrape_the_port_that_recall_has(production: Chart) -> None:
    monitor = production.one("ServiceMonitor", "pagoda-recall")["spec"]
    service = production.one("Service", "pagoda-recall")
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_should_offer_the_dashboard_to_grafana(production: Chart) -> None:
    dashboard = production.one("ConfigMap", "pagoda-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["pagoda.json"])["title"] == "Pagoda"


def test_should_scrape_every_process_that_has_metrics(production: Chart) -> None:
    monitors = {monitor["metadata"]["name"]: monitor["spec"] for monitor in production.of("PodMonitor")}
    assert set(monitors) == {"pagoda-rollout", "pagoda-sink", "pagoda-items", "pagoda-tower"}
    for name, template in production.pods():
        component = name.split("/pagoda-")[-1]
        if f"pagoda-{component}" in monitors and name.startswith("Deployment/"):
            assert (
                monitors[f"pagoda-{component}"]["selector"]["matchLabels"].items()
                <= template["metadata"]["labels"].items()
            )
            (container,) = template["spec"]["containers"]
            (port,) = container["ports"]
            assert port["name"] == monitors[f"pagoda-{component}"]["podMetricsEndpoints"][0]["port"]
            assert f"--metrics-port={port['containerPort']}" in container["args"]


def test_should_scrape_the_follower_and_never_torchserve(production: Chart) -> None:
    tower, follower = production.one("ServingRuntime", "pagoda-tower")["spec"]["containers"]
    (endpoint,) = production.one("PodMonitor", "pagoda-tower")["spec"]["podMetricsEndpoints"]
    keep, place = endpoint["relabelings"]
    assert (keep["action"], keep["regex"]) == ("keep", follower["name"])
    port = place["replacement"].split(":")[1]
    assert follower["args"] == [f"--metrics-port={port}"]
    assert "--metrics" not in str(tower["args"])


def test_should_scrape_kserves_model_server_beside_the_follower() -> None:
    chart = in_profile("production", "tower.runtime=kserve", "tower.workers=1")
    ports = {
        endpoint["relabelings"][0]["regex"]: endpoint["relabelings"][1]["replacement"].split(":")[1]
        for endpoint in chart.one("PodMonitor", "pagoda-tower")["spec"]["podMetricsEndpoints"]
    }
    for container in chart.one("ServingRuntime", "pagoda-tower")["spec"]["containers"]:
        assert f"--metrics-port={ports[container['name']]}" in container["args"]
    policy = chart.one("NetworkPolicy", "pagoda-tower")["spec"]["ingress"]
    assert set(ports.values()) == {str(one["port"]) for rule in policy for one in rule["ports"]} - {"8080"}


def test_should_alert_before_recall_refuses_events() -> None:
    rules = {rule["alert"]: rule for rule in _rules(in_profile("production", "events.streamLength=500"))}
    assert rules["PagodaEventsWaiting"]["expr"].endswith("> 400")
