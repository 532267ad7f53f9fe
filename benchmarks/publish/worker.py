"""A tower worker as far as tables go: waits for a generation, answers from it, and says when it did and what it holds.

Run as a process of its own: `python -m benchmarks.publish.worker TABLES`. It reads lines, a generation ID or
`weigh`, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from pagoda.embeddings.tables import TowerTables

BATCH = 32
BATCHES = 2000


def main() -> None:
    """Serve the questions of the benchmark until its pipe closes."""
    tables = TowerTables(Path(sys.argv[1]), 1)
    for line in sys.stdin:
        answer = weigh(tables) if line.strip() == "weigh" else serve(tables, line.strip())
        print(json.dumps(answer), flush=True)


def serve(tables: TowerTables, wanted: str) -> dict[str, float]:
    """Wait until `wanted` is current and answer a batch from it."""
    while tables.current() != wanted:
        time.sleep(0.001)
    users = tables.generation(wanted).users
    users.lookup(users.base.ids[:BATCH])
    return {"served_at": time.time()}


def weigh(tables: TowerTables) -> dict[str, float]:
    """Time lookups of batches, read every segment whole, and weigh this process."""
    users = tables.generation(tables.current()).users
    # The same users each time, so that what a worker grows by is the publish, not other pages of the base.
    questions = np.random.default_rng(0).choice(users.base.ids, (BATCHES, BATCH))
    times = []
    for batch in (*questions, *questions):
        began = time.perf_counter()
        users.lookup(batch)
        times.append(time.perf_counter() - began)
    # The base's few as well, so that the allocator's first large batch is no growth of the first publish.
    for ids in (users.base.ids[: 10 * BATCHES], *(segment.ids for segment in users.segments)):
        for start in range(0, len(ids), BATCHES):
            users.lookup(ids[start : start + BATCHES])
    p50, p99 = np.percentile(times[BATCHES:], [50, 99]) * 1e6
    uss = psutil.Process().memory_full_info().uss
    return {"uss": uss, "lookup_us": p50, "lookup_us_p99": p99, "segments": len(users.segments)}


if __name__ == "__main__":
    main()
