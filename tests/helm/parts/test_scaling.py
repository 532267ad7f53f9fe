"""Who says how many recall pods there are, and that nothing is lost when that changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helm.generate.chart import NAMESPACE, Resource
from tests.helm.charts import with_values
from tests.helm.looked_at import upgraded

ON, OFF = "recall.autoscaling.enabled=true", "recall.autoscaling.enabled=false"
SIX = "recall.replicas=6"

# As Kubernetes writes managedFields: Helm 4 applies, Helm 3 updates; an autoscaler writes the subresource.
HELM_4 = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}, "f:replicas": {}}}}
HELM_4_WITHOUT = {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}
HELM_3 = {"manager": "helm", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}
AUTOSCALER = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "scale",
    "fieldsV1": {"f:spec": {"f:replicas": {}}},
}
STATUS = {
    "manager": "kube-controller-manager",
    "operation": "Update",
    "subresource": "status",
    "fieldsV1": {"f:status": {"f:replicas": {}}},
}


def recall(replicas: int, *owners: dict[str, Any]) -> Resource:
    metadata = {"name": "pagoda-recall", "namespace": NAMESPACE, "managedFields": [*owners, STATUS]}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


AUTOSCALES = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "pagoda-recall", "namespace": NAMESPACE},
}


def asked(folder: Path, values: list[str], *objects: Resource) -> int | None:
    spec = upgraded(folder, values, *objects).one("Deployment", "pagoda-recall")["spec"]
    return spec.get("replicas")


@pytest.mark.parametrize("owner", [HELM_4, HELM_3])
def test_should_keep_the_number_of_pods_when_scaling_is_switched_on(tmp_path: Path, owner: dict[str, Any]) -> None:
    assert asked(tmp_path, [ON], recall(6, owner)) == 6


def test_should_keep_it_until_the_autoscaler_has_taken_it(tmp_path: Path) -> None:
    assert asked(tmp_path, [ON], recall(6, HELM_4), AUTOSCALES) == 6


def test_should_leave_it_to_the_autoscaler_from_then_on(tmp_path: Path) -> None:
    # Sending 12 as well would be a conflict as soon as the autoscaler changes it between our look and our apply.
    assert asked(tmp_path, [ON], recall(12, HELM_4_WITHOUT, AUTOSCALER), AUTOSCALES) is None
    assert asked(tmp_path, [ON], recall(12, HELM_4, AUTOSCALER), AUTOSCALES) is None


def test_should_send_what_is_there_to_a_client_side_apply_each_time(tmp_path: Path) -> None:
    # Helm 3 deletes what the last release named and this one does not, whoever changed it since.
    assert asked(tmp_path, [ON], recall(12, HELM_3, AUTOSCALER), AUTOSCALES) == 12


@pytest.mark.parametrize("owner", [HELM_4_WITHOUT, HELM_3])
def test_should_leave_the_pods_when_scaling_is_switched_off(tmp_path: Path, owner: dict[str, Any]) -> None:
    assert asked(tmp_path, [OFF, SIX], recall(12, owner, AUTOSCALER), AUTOSCALES) == 12


@pytest.mark.parametrize("owner", [HELM_4_WITHOUT, HELM_3])
def test_should_ask_for_its_own_number_once_the_autoscaler_is_gone(tmp_path: Path, owner: dict[str, Any]) -> None:
    assert asked(tmp_path, [OFF, SIX], recall(12, owner, AUTOSCALER)) == 6


def test_should_ask_for_its_own_number_without_an_autoscaler(tmp_path: Path) -> None:
    assert asked(tmp_path, [SIX], recall(4, HELM_4)) == 6
    assert asked(tmp_path, [SIX]) == 6


def test_should_leave_a_first_installation_to_its_autoscaler(tmp_path: Path) -> None:
    assert asked(tmp_path, [ON]) is None
    assert "replicas" not in with_values(ON).one("Deployment", "pagoda-recall")["spec"]
