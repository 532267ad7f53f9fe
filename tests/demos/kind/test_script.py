"""The script's way through, with programs that write down how they were called in the place of the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .page import FOLDER

STUB = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
  *"get secret"*) printf secret | base64 ;;
  "get clusters") echo other; echo "$CLUSTER" ;;
  *"pipelines run"*) echo '[{"pipeline": "full-update", "run": "r-1", "url": "u"}]' ;;
esac
[[ -z "$FAILING" || "$*" != *$FAILING* ]]
"""
RECALL_NOW = "deployment/pagoda-recall --for=condition=Available --timeout=1s"
"""Whether recall answers already: at a first installation it does not."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the script, and stubs on PATH and in .venv."""
    shutil.copytree(FOLDER, tmp_path / "demos" / "kind")
    for place in ("kind", "kubectl", "helm", "make", "timeout", ".venv/bin/pagoda", ".venv/bin/python"):
        stub = tmp_path / (place if "/" in place else f"stubs/{place}")
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(STUB)
        stub.chmod(0o755)
    return tmp_path


def _run(root: Path, failing: str, cluster: str = "") -> tuple[int, list[str]]:
    """The exit code, and the calls."""
    log = root / "calls"
    log.unlink(missing_ok=True)
    stubs = {"PATH": f"{root / 'stubs'}:{os.environ['PATH']}", "CALLS": str(log)}
    environment = {**os.environ, **stubs, "FAILING": failing, "CLUSTER": cluster}
    done = subprocess.run(
        [root / "demos/kind/install.sh"], env=environment, capture_output=True, timeout=60, check=False
    )
    return done.returncode, log.read_text().splitlines()


def test_a_first_run_goes_from_the_cluster_to_the_request(root: Path) -> None:
    code, calls = _run(root, RECALL_NOW)
    assert code == 0
    assert any(call.startswith("kind create cluster --name pagoda") for call in calls)
    assert any("wait workflow -l pipeline/runid=r-1 " in call for call in calls)
    assert calls[-1] == "helm test pagoda -n pagoda --logs"
    keys = [call for call in calls if "create secret" in call]
    assert len(keys) == 2 and all("AWS_SECRET_ACCESS_KEY=secret" in call for call in keys)


def test_where_recall_answers_a_further_run_makes_neither_cluster_nor_update(root: Path) -> None:
    code, calls = _run(root, "", cluster="pagoda")
    assert code == 0
    assert not any("create cluster" in call or "pipelines run" in call for call in calls)


@pytest.mark.parametrize("failing", ["kserve-resources", "MilvusReady", "demos.kind.dataset", "wait workflow"])
def test_a_step_that_fails_ends_it(root: Path, failing: str) -> None:
    # Recall does not answer, so the update is due.
    stub = root / "stubs" / "kubectl"
    stub.write_text(STUB.replace("case", f'[[ "$*" != *"{RECALL_NOW}"* ]] || exit 1\ncase', 1))
    code, calls = _run(root, failing)
    assert code != 0
    assert not any(call.startswith("helm test") for call in calls)
