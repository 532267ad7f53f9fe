"""Workers end with whoever deals to them, however that ends."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARK = """
import os, time
from pagoda.processes import worker_pool
if __name__ == "__main__":
    pool = worker_pool(1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 600).result()
"""


def test_a_worker_does_not_outlive_a_benchmark_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "benchmark.py").write_text(BENCHMARK)
    started = subprocess.Popen(
        [sys.executable, tmp_path / "benchmark.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with started as benchmark:
        assert benchmark.stdout is not None
        worker = os.pidfd_open(int(benchmark.stdout.readline()))
        benchmark.kill()
        ended, _, _ = select.select([worker], [], [], 60)
    os.close(worker)
    assert ended
