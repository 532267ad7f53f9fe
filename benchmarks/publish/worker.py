"""A tower worker as far as tables go: looks batches up in what is current; says how long that takes and what it holds.

Run as a process of its own: `python -m benchmarks.publish.worker TABLES`. It answers each line with a line of JSON.
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
IDLE_SECONDS = 0.5
"""After which a worker lets go of a generation that nobody asks for; a minute in serving."""


def main() -> None:
    """Answer until the pipe closes."""
    tables = TowerTables(Path(sys.argv[1]), 1, idle_seconds=IDLE_SECONDS)
    for _ in sys.stdin:
        print(json.dumps(weigh(tables)), flush=True)


def weigh(tables: TowerTables) -> dict[str, float]:
    """Time lookups of batches, read all segments whole, and weigh this process without the generation before."""
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
    time.sleep(2 * IDLE_SECONDS)
    tables.generation(tables.current())
    uss = psutil.Process().memory_full_info().uss
    return {"uss": uss, "lookup_us": float(np.median(times[BATCHES:])) * 1e6, "segments": len(users.segments)}


if __name__ == "__main__":
    main()
