"""Workers end with whoever deals to them, however that ends; what is dealt is whole, and what they share the same."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pagoda.processes import Shared, evenly

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


@given(st.integers(0, 500), st.integers(1, 40), st.integers(1, 9))
def test_all_is_dealt_once_in_order_and_by_whole_strides(size: int, stride: int, processes: int) -> None:
    slices = evenly(size, stride, processes)
    assert [place for own in slices for place in range(own.start, own.stop)] == list(range(size))
    assert 1 <= len(slices) <= processes
    assert all(own.start < own.stop for own in slices) or size == 0
    assert all(before.stop == after.start and after.start % stride == 0 for before, after in pairwise(slices))
    strides = [-(-(own.stop - own.start) // stride) for own in slices]
    assert max(strides) - min(strides) <= 1, "nobody waits for one who has much more"


def test_what_is_shared_is_the_same_and_nobody_has_a_copy(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    value = {"vectors": vectors, "again": vectors, "none": np.empty((0, 3), np.int64), "words": ("a", 1)}
    found = Shared.write(tmp_path, value).open()
    assert found.keys() == value.keys() and found["words"] == ("a", 1)
    for name in ("vectors", "again", "none"):
        np.testing.assert_array_equal(found[name], value[name])
        assert found[name].dtype == value[name].dtype
    assert found["again"] is found["vectors"]
    assert not found["vectors"].flags.owndata and not found["vectors"].flags.writeable
