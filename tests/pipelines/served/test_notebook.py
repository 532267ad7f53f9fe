"""The notebook that asks a running platform, run against one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.notebooks import printed, read, run

from .homes import Home

pytestmark = pytest.mark.integration


def test_the_notebook_of_the_client_runs(served: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_HOME", str(served.settings.home))
    notebook = read("client")
    run(notebook, tmp_path)
    assert "taken=1 duplicates=0" in printed(notebook) and "taken=0 duplicates=1" in printed(notebook)
