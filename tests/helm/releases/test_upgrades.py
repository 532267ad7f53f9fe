"""An upgrade restarts what it changes and nothing else; uninstalling leaves data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from helm.generate.chart import CHART, Resource, render
from tests.helm.charts import Chart, in_profile, with_values

KEEP = {
    "helm.sh/resource-policy": "keep",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}


def _templates(chart: Chart) -> dict[str, Resource]:
    """What decides whether pods are made anew."""
    templates = {name: template for name, template in chart.pods() if not name.startswith("Pod/")}
    service = chart.one("InferenceService", "pagoda-tower")
    # KServe copies labels and annotations to the pods.
    templates["InferenceService"] = {key: service["metadata"][key] for key in ("labels", "annotations")} | service[
        "spec"
    ]
    return templates


def _restarted(before: Chart, after: Chart) -> set[str]:
    old, new = _templates(before), _templates(after)
    return {name for name in old if new.get(name) != old[name]}


def test_should_restart_nothing_for_another_chart_version(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "pagoda")
    meta = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (tmp_path / "pagoda" / "Chart.yaml").write_text(yaml.safe_dump({**meta, "version": "9.9.9"}))
    after = Chart(render(chart=tmp_path / "pagoda"))
    assert not _restarted(with_values(), after)


@pytest.mark.parametrize(
    ("one", "restarted"),
    [
        # Who reads it is restarted…
        (
            "tower.url=http://elsewhere",
            {"Deployment/pagoda-recall", "Deployment/pagoda-rollout"},
        ),
        (
            "redis.mode=external,redis.existingSecret=r",
            {"Deployment/pagoda-recall", "Deployment/pagoda-rollout", "StatefulSet/pagoda-redis"},
        ),
        # (A CronJob's pods read afresh each time.)
        ("registry.model=other", {"Deployment/pagoda-rollout"}),
        (
            "milvus.mode=external,milvus.uri=http://milvus:19530",
            {"Deployment/pagoda-recall", "Deployment/pagoda-rollout"},
        ),
        # … and a setting of one part is nobody else's business.
        (
            "milvus.mode=external,milvus.uri=http://pagoda-milvus.pagoda.svc.cluster.local:19530,milvus.imports=s3://a/b",
            set(),
        ),
        ("tracing.endpoint=http://collector:4318", {"Deployment/pagoda-recall", "ServingRuntime/pagoda-tower"}),
        ("events.kafka.servers=kafka:9092", {"Deployment/pagoda-recall"}),
        ("items.kafka.servers=kafka:9092", {"Deployment/pagoda-recall"}),
        ("events.newcomers=9,recall.connections=9", {"Deployment/pagoda-recall"}),
        ("events.forgottenDays=9", {"Deployment/pagoda-rollout"}),
        ("items.removalHours=12", {"Deployment/pagoda-recall", "Deployment/pagoda-rollout"}),
        ("items.undoDays=9", set()),  # The item worker's, which does not run here.
        ("tower.workers=3", {"ServingRuntime/pagoda-tower"}),
        ("recall.resources.requests.cpu=2", {"Deployment/pagoda-recall"}),
        ("retention.schedule=0 0 * * *", set()),
        ("recall.podLabels.team=a,recall.labels.team=b", {"Deployment/pagoda-recall"}),
        # KServe copies these to the tower's pods.
        ("common.labels.team=a,common.annotations.owner=b", {"InferenceService"}),
        ("common.service.annotations.a=b,recall.ingress.enabled=true", set()),
        ("monitoring.prometheusRules.enabled=true,monitoring.serviceMonitors.enabled=true", set()),
        ("networkPolicy.enabled=false", set()),
        ("recall.replicas=5,tower.podDisruptionBudget.enabled=true", set()),
    ],
)
def test_should_restart_only_pods_that_read_what_changed(one: str, restarted: set[str]) -> None:
    before, after = with_values(), with_values(*one.split(","))
    changed = _restarted(before, after)
    assert changed == restarted


def test_should_give_the_job_another_name_when_it_has_other_work() -> None:
    def names(chart: Chart) -> list[str]:
        return [job["metadata"]["name"] for job in chart.of("Job")]

    assert names(with_values()) == names(with_values("recall.replicas=2"))
    for other in ("images.tag=2.0.0", "images.pullSecrets={a}", "runAs.user=20000", "pipelines.kubeflow.host=http://k"):
        assert names(with_values()) != names(with_values(other)), other


def _scheduled(chart: Chart) -> list[list[str]]:
    steps = [container["args"] for name, container in chart.containers() if name.startswith("Job/")]
    return [args for args in steps if args[1] == "schedule"]


@pytest.mark.parametrize(
    "secret", ["milvus.existingSecret=other", "objectStorage.existingSecret=other", "registry.signingSecret=other"]
)
def test_should_schedule_the_versions_that_it_brings(secret: str) -> None:
    for chart in (in_profile("production"), in_profile("production", secret)):
        brought = {version["spec"]["displayName"] for version in chart.of("PipelineVersion")}
        named = {word.split("=")[1] for args in _scheduled(chart) for word in args if word.startswith("--version=")}
        assert named and named == brought
    before, after = in_profile("knative"), in_profile("knative", "images.components.repository=other")
    for chart in (before, after):
        (upload,) = [c["args"] for _, c in chart.containers() if c.get("args", [""])[:2] == ["pipelines", "upload"]]
        names = {word for word in upload if word.startswith(("--image", "--settings", "--storage", "--milvus"))}
        assert all(names <= set(args) for args in _scheduled(chart))


@pytest.mark.parametrize("profile", ["minimal", "production"])
def test_should_leave_what_lasts_when_uninstalled(profile: str) -> None:
    chart = in_profile(profile)
    kinds = {"Milvus", "PersistentVolumeClaim", "Pipeline", "PipelineVersion"}
    for resource in chart.resources:
        if resource["kind"] in kinds:
            assert resource["metadata"]["annotations"].items() >= KEEP.items(), resource["metadata"]["name"]
    for stateful in chart.of("StatefulSet"):
        assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    dependencies = chart.one("Milvus", "pagoda")["spec"]["dependencies"]
    for part in (dependencies["etcd"], dependencies["storage"]):
        assert part.get("external") or part["inCluster"]["deletionPolicy"] == "Retain"
