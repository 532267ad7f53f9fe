"""A sample of `make bench-faults`: users get answers all the while, and no event is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.integration
def test_killed_slow_and_full_servers_cost_no_request_and_no_event(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    size = ["--items", "600", "--users", "100", "--rate", "20"]
    chosen = ["--only", "kill redis", "worker", "disk", "delay", "category damaged"]
    command = [sys.executable, "-m", "benchmarks.faults", *size, *chosen, "--out", str(out)]
    # As users have it, not as the other tests want it.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PAGODA_")}
    subprocess.run(command, cwd=ROOT, env=own, check=True, timeout=900)
    results = {result["fault"]: result for result in json.loads(out.read_text())}
    assert {"kill redis", "kill torchserve worker", "delay milvus by 2 s"} <= results.keys()
    for result in results.values():
        assert (result["errors_5xx"], result["events_lost"]) == (0, 0), result
        # A Redis without room takes no events, and goes on to say what it knows.
        assert result["degraded"] > 0 or result["fault"] == "disk full", result
    dead = results["channels: category damaged"]
    assert dead["degraded_by"].get("category_missing") == dead["requests"], dead
    assert (dead["items_by_channel"]["category"], dead["short"]) == (0, 0), dead
