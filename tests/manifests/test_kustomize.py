"""The kustomize folders: the same resources as the chart's profiles, and fresh."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from helm.generate import kustomize
from helm.generate.chart import (
    CHART,
    MANIFESTS,
    NAMESPACE,
    PROFILES,
    ROOT,
    Resource,
    identity,
    kustomized,
    profile,
)

SAID_BY_HELM = {"helm.sh/chart", "app.kubernetes.io/managed-by"}


@pytest.mark.parametrize("name", PROFILES)
def test_should_hold_the_resources_of_the_chart_with_equal_specs(name: str) -> None:
    chart = {identity(resource): resource for resource in profile(name, hooks=False)}
    overlay, lasting = _overlay(name), _lasting(name)
    assert not set(overlay) & set(lasting)
    both = overlay | lasting
    assert set(both) == set(chart)
    for key, resource in chart.items():
        assert _content(both[key]) == _content(resource), key


def _overlay(name: str) -> dict[tuple[str, str], Resource]:
    return {identity(resource): resource for resource in kustomized(MANIFESTS / "overlays" / name)}


def _lasting(name: str) -> dict[tuple[str, str], Resource]:
    return {identity(resource): resource for resource in kustomized(MANIFESTS / "lasting" / name)}


@pytest.mark.parametrize("name", PROFILES)
def test_should_hold_no_data_that_deleting_an_overlay_would_delete(name: str) -> None:
    overlay = _overlay(name)
    assert not {kind for kind, _ in overlay} & {"PersistentVolumeClaim", "Milvus", "Pipeline", "PipelineVersion"}
    for (kind, _), resource in overlay.items():
        if kind == "StatefulSet" and resource["spec"].get("volumeClaimTemplates"):
            assert resource["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"


@pytest.mark.parametrize("name", PROFILES)
def test_should_hold_milvus_and_each_claim_that_a_pod_mounts_apart(name: str) -> None:
    lasting = set(_lasting(name))
    assert (("Milvus", "pagoda") in lasting) is (name != "compact")
    volumes = [
        volume
        for (kind, _), resource in _overlay(name).items()
        if kind == "Deployment"
        for volume in resource["spec"]["template"]["spec"]["volumes"]
    ]
    claims = {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}
    assert claims == {claim for kind, claim in lasting if kind == "PersistentVolumeClaim"}


def _content(resource: Resource) -> dict[str, Any]:
    """All of a resource but what Helm writes for itself."""
    metadata = resource["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key not in SAID_BY_HELM}
    notes = {key: value for key, value in metadata.get("annotations", {}).items() if not key.startswith("helm.sh/")}
    return {**resource, "metadata": {"name": metadata["name"], "labels": labels, "annotations": notes}}


def test_should_be_made_afresh_from_the_chart(tmp_path: Path) -> None:
    kustomize.write(tmp_path)
    for part in kustomize.PARTS:
        made, kept = _files(tmp_path / part), _files(MANIFESTS / part)
        assert made == kept, "run `make charts`"


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.yaml")}


def test_should_put_everything_into_pagodas_namespace_but_what_kubeflows_steps_read() -> None:
    elsewhere = {
        identity(resource)
        for resource in kustomized(MANIFESTS / "base")
        if resource["metadata"]["namespace"] != NAMESPACE
    }
    assert elsewhere == {("ConfigMap", "pagoda.pagoda-pipelines"), ("NetworkPolicy", "pagoda.pagoda-pipelines")}


@pytest.mark.parametrize(
    ("overlay", "of_steps"), [("production", "pagoda-pipelines"), ("minimal", "pagoda.pagoda-pipelines")]
)
def test_should_be_patched_as_the_readme_says(tmp_path: Path, overlay: str, of_steps: str) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (MANIFESTS / "README.md").read_text(), re.DOTALL)
    shutil.copytree(MANIFESTS, tmp_path / "manifests")
    (tmp_path / "ours").mkdir()
    ours = example.replace("github.com/…/manifests/overlays/production", f"../manifests/overlays/{overlay}")
    (tmp_path / "ours" / "kustomization.yaml").write_text(ours.replace("sha256:…", f"sha256:{'a' * 64}"))
    found = {identity(resource): resource for resource in kustomized(tmp_path / "ours")}
    assert found["ConfigMap", "pagoda-settings"]["data"]["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == "s3://ours/pagoda/mlflow"
    for name in ("pagoda-settings", of_steps):
        assert found["ConfigMap", name]["data"]["PAGODA_REGISTRY__LOG"] == "s3://ours/pagoda/log"
    (container,) = found["Deployment", "pagoda-recall"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("registry.example.com/pagoda/recall@sha256:")


def test_should_be_applied_on_the_servers_side_wherever_it_is_told_of() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", MANIFESTS / "README.md", CHART / "README.md"]
    told = {
        (page.name, command)
        for page in [*pages, CHART / "templates" / "NOTES.txt"]
        for command in re.findall(r"kubectl apply[^\n]*", page.read_text())
        if "kubeflow" not in command.lower()  # Kubeflow's own, as it documents them.
    }
    assert any(command.startswith("kubectl apply --server-side -k manifests/lasting") for _, command in told)
    assert not {one for one in told if not one[1].startswith("kubectl apply --server-side")}
