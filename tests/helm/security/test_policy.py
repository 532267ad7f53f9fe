"""What a policy scanner says of the rendered resources."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from helm.generate.chart import Resource, tool
from tests.helm.charts import distinct

SCANNED = {
    *("Deployment", "StatefulSet", "Job", "CronJob", "Pod", "ServingRuntime"),
    *("Role", "RoleBinding", "ServiceAccount", "Service", "ConfigMap", "Secret"),
}
"""The kinds that the scanner has rules for; it takes its time over each document of the others too."""
EXPLAINED: set[tuple[str, str]] = set()
"""High findings that docs/kubernetes.md explains, as (id, message)."""


_INDIFFERENT = {"args", "annotations", "labels", "matchLabels", "replicas", "env", "requests", "sizeLimit", "data"}


def _once_each() -> list[Resource]:
    """Resources that differ in what a rule may look at; the scanner takes its time over each."""
    found = {json.dumps(_posture(one), sort_keys=True): one for one in distinct() if one["kind"] in SCANNED}
    assert {one["kind"] for one in found.values()} == SCANNED
    return [_as_pod(one) if one["kind"] == "ServingRuntime" else one for one in found.values()]


def _as_pod(runtime: Resource) -> Resource:
    """The pod that KServe makes of a runtime, a kind that the scanner has no rules for."""
    spec = {key: runtime["spec"][key] for key in ("containers", "volumes")} | {"automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": runtime["metadata"], "spec": spec}


def _posture(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: None if key in _INDIFFERENT else _posture(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_posture(inner) for inner in value]
    return "some" if isinstance(value, str) and re.fullmatch(r"\d+[MG]i", value) else value


def _planted() -> Resource:
    """A pod with a fault, so that a scanner that sees nothing is noticed."""
    pod = next(one for one in distinct() if one["kind"] == "Pod")
    (container,) = pod["spec"]["containers"]
    wrong = {**container, "securityContext": {**container["securityContext"], "readOnlyRootFilesystem": False}}
    metadata = {**pod["metadata"], "name": "planted"}
    return {**pod, "metadata": metadata, "spec": {**pod["spec"], "containers": [wrong]}}


def test_should_have_no_high_finding_that_is_not_explained(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*_once_each(), _planted()]))
    command = [tool("trivy"), "config", "--skip-check-update", "--quiet", "--format", "json", str(tmp_path)]
    (report,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["Results"]
    findings = report.get("Misconfigurations", [])
    serious = {(one["ID"], one["Message"]) for one in findings if one["Severity"] in ("HIGH", "CRITICAL")}
    planted = {one for one in serious if "'planted'" in one[1]}
    assert planted, "the scanner finds the fault that was planted"
    assert serious - planted <= EXPLAINED
