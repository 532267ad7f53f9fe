"""The benchmark runs, and what publishing writes follows the delta, not the base."""

import json
import subprocess
import sys
from pathlib import Path

DIM = 64


def test_bytes_written_follow_the_delta_and_not_the_base(tmp_path: Path) -> None:
    found = {}
    for delta in (400, 4000):
        out = tmp_path / f"{delta}.json"
        command = [sys.executable, "-m", "benchmarks.publish", "--delta-rows", str(delta), "--out", str(out)]
        root = Path(__file__).parents[2]
        subprocess.run([*command, "--users", "5000", "50000"], cwd=root, check=True, capture_output=True)
        small, large = json.loads(out.read_text())
        assert abs(small["bytes_written"] - large["bytes_written"]) < 1000
        assert (small["base_users"], large["base_users"], small["delta_rows"]) == (5000, 50_000, delta)
        found[delta] = small["bytes_written"]
    assert found[400] < 400 * (4 * DIM + 8) + 5000
    assert 8 < found[4000] / found[400] < 11
    assert [path.suffix for path in tmp_path.iterdir()] == [".json", ".json"]
