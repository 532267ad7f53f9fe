"""What runs as long as the platform does holds no library that it has no use for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "mlflow", "pymilvus", "kubernetes", "pandas", "scipy.special", "faiss", "tantivy", "google.protobuf"}
WORKERS = "serving.workers.__main__"
GUARDIAN = "pagoda.standalone.supervision.guardian, pagoda.standalone.servers.services"


@pytest.mark.parametrize(
    ("modules", "unused"),
    [(WORKERS, HEAVY | {"httpx"}), (GUARDIAN, HEAVY | {"numpy", "pyarrow", "pagoda.generations.release_log"})],
)
def test_a_process_does_not_import_what_it_has_no_use_for(modules: str, unused: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, {modules}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert not unused & {*done.stdout.split()}
