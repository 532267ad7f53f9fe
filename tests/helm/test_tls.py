"""TLS by values: who speaks it, what the others then call it by, and what the kubelet and Prometheus do."""

from __future__ import annotations

from typing import Any

import pytest

from pagoda.errors import ConfigError

from .charts import composed, given

TLS = {
    "tls": {"recall": "recall-tls", "tower": "tower-tls", "mlflow": "mlflow-tls", "redis": "redis-tls"},
    "caBundle": {"configMap": "own-ca"},
}
PARTS = {
    "recall": "Deployment/pagoda-recall",
    "mlflow": "Deployment/pagoda-mlflow",
    "redis": "StatefulSet/pagoda-redis",
}


@pytest.mark.parametrize("part", PARTS)
def test_should_mount_the_certificate_where_the_server_looks(part: str) -> None:
    pod = dict(composed(given(TLS)))[PARTS[part]]["spec"]
    assert {"name": "certificate", "secret": {"secretName": f"{part}-tls"}} in pod["volumes"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "certificate"]
    assert mount["mountPath"] in " ".join(pod["containers"][0]["args"])


def test_should_name_each_server_by_https_to_the_others() -> None:
    settings = given(TLS).one("ConfigMap", "pagoda-settings")["data"]
    urls = {name: value for name, value in settings.items() if name.endswith(("__URL", "__URI"))}
    assert {name for name, url in urls.items() if not url.startswith(("https:", "rediss:"))} == {"PAGODA_MILVUS__URI"}


def test_should_probe_over_tls() -> None:
    for name in ("Deployment/pagoda-recall", "Deployment/pagoda-mlflow"):
        container = dict(composed(given(TLS)))[name]["spec"]["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["scheme"] == "HTTPS", (name, probe)
    redis = dict(composed(given(TLS)))["StatefulSet/pagoda-redis"]["spec"]["containers"][0]
    assert redis["readinessProbe"]["exec"]["command"] == ["valkey-cli", "--tls", "--insecure", "-e", "ping"]


def test_should_have_prometheus_check_the_certificate() -> None:
    rendered = given({**TLS, "monitoring": {"serviceMonitors": {"enabled": True}}})
    (endpoint,) = rendered.one("ServiceMonitor", "pagoda-recall")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["ca"]["configMap"] == {"name": "own-ca", "key": "ca.crt"}
    assert endpoint["tlsConfig"]["serverName"].startswith("pagoda-recall.")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("tls.tower", {"tls": {"tower": "a"}, "tower": {"mode": "Knative", "autoscaling": {"metric": "rps"}}}),
        ("tls.mlflow", {"tls": {"mlflow": "a"}, "mlflow": {"mode": "external", "uri": "https://mlflow"}}),
    ],
)
def test_should_refuse_it_where_nobody_would_speak_it(key: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{key}: is only used"):
        given(values)


def test_should_take_item_changes_at_the_port_of_the_service() -> None:
    pod = dict(composed(given({})))["Deployment/pagoda-recall"]["spec"]
    (port,) = [one["containerPort"] for one in pod["containers"][0]["ports"] if one["name"] == "items"]
    assert f"--items-port={port}" in pod["containers"][0]["args"]


def test_should_ask_for_the_embedded_mlflows_password_and_show_it() -> None:
    for name in ("Deployment/pagoda-mlflow", "Deployment/pagoda-rollout"):
        environment = {one["name"]: one for one in dict(composed(given({})))[name]["spec"]["containers"][0]["env"]}
        source = environment["MLFLOW_TRACKING_PASSWORD"]["valueFrom"]["secretKeyRef"]
        assert source == {"name": "pagoda-mlflow-login", "key": "password"}, name
