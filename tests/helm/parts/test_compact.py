"""The profile `compact`: tower and search in recall's pods."""

from __future__ import annotations

import pytest

from pagoda.settings import Settings, lacking
from pipelines.kubernetes_platform import SETTINGS_KEYS
from tests.helm.charts import Chart, in_profile
from tests.helm.flows import Network, pod
from tests.helm.test_settings import settings_in

ALLOWED = {
    ("recall", "redis", 6379),
    ("rollout", "recall", 8080),
    ("rollout", "recall", 9102),
    ("rollout", "mlflow", 5000),
    ("rollout", "redis", 6379),
    ("pipelines", "recall", 8080),
    ("pipelines", "recall", 9102),
    ("pipelines", "mlflow", 5000),
    ("retention", "mlflow", 5000),
    ("sink", "redis", 6379),
    ("test", "recall", 8080),
}


@pytest.fixture
def compact() -> Chart:
    return in_profile("compact", "monitoring.serviceMonitors.enabled=true")


def test_should_have_neither_kserve_nor_milvus(compact: Chart) -> None:
    apis = {resource["apiVersion"].split("/")[0] for resource in compact.resources}
    assert not apis & {"serving.kserve.io", "milvus.io"}
    assert not [name for name, container in compact.containers() if "MILVUS" in str(container.get("env"))]
    (rule,) = compact.one("Role", "pagoda-rollout")["rules"]
    assert rule["resources"] == ["leases"]


def test_should_bring_all_that_recall_maps_by_a_follower_in_its_pod(compact: Chart) -> None:
    spec = compact.one("Deployment", "pagoda-recall")["spec"]["template"]["spec"]
    recall, follower = spec["containers"]
    assert {one["image"].split(":")[0] for one in (recall, follower)} == {"ghcr.io/pagoda/recall-compact"}
    assert follower["command"] == ["python", "-m", "serving.workers.follower"]
    assert {"name": "host", "mountPath": "/host", "readOnly": True} in recall["volumeMounts"]
    assert {"name": "host", "mountPath": "/host"} in follower["volumeMounts"]
    for container in (recall, follower):
        assert {"name": "PAGODA_HOME", "value": "/host"} in container["env"]
    service = compact.one("Service", "pagoda-hosts")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    labels = compact.one("Deployment", "pagoda-recall")["spec"]["template"]["metadata"]["labels"]
    for selector in (service["selector"], compact.one("PodMonitor", "pagoda-hosts")["spec"]["selector"]["matchLabels"]):
        assert selector.items() <= labels.items()


@pytest.mark.parametrize(
    "place",
    [
        *("Deployment/pagoda-recall/recall", "Deployment/pagoda-recall/follower"),
        *("Deployment/pagoda-rollout/driver", "Deployment/pagoda-items/items", "CronJob/pagoda-retention/retention"),
    ],
)
def test_should_tell_every_part_where_collections_come_from(
    compact: Chart, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(compact, place, monkeypatch)
    assert (settings.index.backend, settings.index.store) == ("in_process", "s3://pagoda/collections")
    assert lacking(settings, "index") == []


def test_should_tell_the_steps_as_much(compact: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compact.for_steps("ConfigMap")["data"]
    assert set(found) <= set(SETTINGS_KEYS)
    for key, value in found.items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert (settings.index.backend, settings.index.store) == ("in_process", "s3://pagoda/collections")
    assert (settings.rollout.backend, settings.tower.runtime) == ("pods", "in_process")
    assert settings.tower.hosts == "http://pagoda-hosts.pagoda.svc.cluster.local:9102"
    assert lacking(settings, "index", "tower") == []


def test_should_allow_between_components_what_their_work_needs_and_nothing_else(compact: Chart) -> None:
    network, ports = Network(compact), (8080, 9102, 6379, 19530, 5000)
    components = network.components()
    assert {(a, b, port) for a in components for b in components for port in ports if network.allows(a, b, port)} == (
        ALLOWED
    )
    assert network.allows(pod("monitoring", app="prometheus"), "recall", 9102)
    assert not network.allows(pod("elsewhere", app="stranger"), "recall", 9102)


def test_should_scale_and_protect_recall(compact: Chart) -> None:
    assert compact.one("HorizontalPodAutoscaler", "pagoda-recall")["spec"]["scaleTargetRef"]["kind"] == "Deployment"
    assert compact.one("PodDisruptionBudget", "pagoda-recall")
