"""What a policy scanner says of the rendered resources."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml

from helm.generate.chart import tool

from .charts import distinct

SCANNED = {
    *("Deployment", "StatefulSet", "Job", "CronJob", "Pod", "ServingRuntime"),
    *("Role", "RoleBinding", "ServiceAccount", "Service", "ConfigMap", "Secret"),
}
"""The kinds that the scanner has rules for; it takes its time over each document of the others too."""
EXPLAINED: set[tuple[str, str]] = set()
"""High findings that docs/kubernetes.md explains, as (id, message)."""


def test_should_have_no_high_finding_that_is_not_explained(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(one for one in distinct() if one["kind"] in SCANNED))
    command = [tool("trivy"), "config", "--skip-check-update", "--quiet", "--format", "json", str(tmp_path)]
    (report,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["Results"]
    assert report["MisconfSummary"]["Successes"] > 0
    findings = report.get("Misconfigurations", [])
    serious = {(one["ID"], one["Message"]) for one in findings if one["Severity"] in ("HIGH", "CRITICAL")}
    assert serious <= EXPLAINED
