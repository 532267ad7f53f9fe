"""The benchmark runs, and what publishing writes follows the delta, not the base."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.publish.world import DIM

FIELDS = ["base_users", "delta_rows", "seconds", "bytes_written", "worker_uss_growth_bytes", "lookup_us_batch32"]
ROW_BYTES = 4 * DIM + 8
RECORDS_BYTES = 20_000
"""What a publish writes beside the rows: records, and what the follower says."""


@pytest.mark.integration
def test_bytes_written_follow_the_delta_and_not_the_base(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.publish", "--without-server", "--out", str(tmp_path / "publish.json")]
    command += ["--publishes", "1", "--users", "5000", "50000", "--delta-rows", "4000"]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    rows = json.loads((tmp_path / "publish.json").read_text())
    assert [list(row) for row in rows] == [FIELDS] * 2
    assert [(row["base_users"], row["delta_rows"]) for row in rows] == [
        (5000, 4000),
        (50_000, 4000),
    ]
    for row in rows:
        delta = row["delta_rows"] * ROW_BYTES
        assert delta < row["bytes_written"] < delta + RECORDS_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["publish.json"]
