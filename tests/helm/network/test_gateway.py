"""What a gateway or an Ingress lets through to recall."""

from __future__ import annotations

import pytest

from tests.helm.charts import given, in_profile


def _matches(kind: str, value: str, path: str) -> bool:
    """As the Gateway API and Ingress have it: a prefix is made of whole elements of a path."""
    if kind == "Exact":
        return path == value
    if kind == "ImplementationSpecific":
        return path.startswith(value)
    assert kind in ("PathPrefix", "Prefix")
    return f"{path}/".startswith(f"{value.rstrip('/')}/")


PATHS = pytest.mark.parametrize(
    ("path", "through"),
    [
        ("/v1/models/recall:predict", True),
        ("/v1/models/recall:similar", True),
        ("/v1/models/recall", True),
        ("/v2/models/recall/infer", True),
        ("/v2/models/recall/ready", True),
        ("/v1/events", False),
        ("/v1/models/recall:explain", False),
        ("/metrics", False),
        ("/docs", False),
        ("/", False),
    ],
)


@PATHS
def test_should_offer_what_answers_recall_and_nothing_else(path: str, through: bool) -> None:
    route = in_profile("production").one("HTTPRoute", "pagoda-recall")
    (rule,) = route["spec"]["rules"]
    assert any(_matches(match["path"]["type"], match["path"]["value"], path) for match in rule["matches"]) is through


INGRESS = {
    "enabled": True,
    "className": "traefik",
    "hostnames": ["a.example.com", "b.example.com"],
    "tls": [{"hosts": ["a.example.com"], "secretName": "certificate"}],
    "annotations": {"cert-manager.io/cluster-issuer": "ours"},
    "labels": {"dns": "public"},
}


@PATHS
def test_should_offer_the_same_through_an_ingress(path: str, through: bool) -> None:
    ingress = given({"recall": {"ingress": INGRESS}}).one("Ingress", "pagoda-recall")
    for rule in ingress["spec"]["rules"]:
        assert any(_matches(one["pathType"], one["path"], path) for one in rule["http"]["paths"]) is through


def test_should_reach_recalls_service_through_an_ingress_of_the_class_and_hosts_asked_for() -> None:
    chart = given({"recall": {"ingress": INGRESS}})
    ingress, service = chart.one("Ingress", "pagoda-recall"), chart.one("Service", "pagoda-recall")
    assert ingress["spec"]["ingressClassName"] == "traefik"
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == INGRESS["hostnames"]
    assert ingress["spec"]["tls"] == INGRESS["tls"]
    assert ingress["metadata"]["annotations"] == INGRESS["annotations"]
    assert ingress["metadata"]["labels"]["dns"] == "public"
    ports = {
        one["backend"]["service"]["port"]["name"] for rule in ingress["spec"]["rules"] for one in rule["http"]["paths"]
    }
    assert ports == {"http"} < {port["name"] for port in service["spec"]["ports"]}


def test_should_take_any_host_where_none_is_named() -> None:
    chart = given({"recall": {"ingress": {"enabled": True}}})
    (rule,) = chart.one("Ingress", "pagoda-recall")["spec"]["rules"]
    assert set(rule) == {"http"}


def test_should_annotate_and_label_a_route() -> None:
    route = in_profile("production", "recall.httpRoute.annotations.a=b", "recall.httpRoute.labels.c=d").one(
        "HTTPRoute", "pagoda-recall"
    )
    assert route["metadata"]["annotations"] == {"a": "b"}
    assert route["metadata"]["labels"]["c"] == "d"
