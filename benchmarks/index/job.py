"""One library or backend over one world: `python -m benchmarks.index.job NAME WORLD SCRATCH`; its rows are printed.

NAME is that of a library, or that of a backend and a kind: `in_process-IVF_PQ`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from benchmarks.index.backends import Ours, OverMilvus
from benchmarks.index.libraries import LIBRARIES, Searching
from benchmarks.index.world import CHECKED, SHARES, IndexedWorld, K
from pagoda.settings.index import Kind

_WANTED = 0.98
_SECONDS = 2.0
_TOLERANCE = 1e-5
Row = dict[str, Any]


def main() -> None:
    """Build, find the least effort that is good enough, and measure at it."""
    name, world, scratch = sys.argv[1], IndexedWorld.open(Path(sys.argv[2])), Path(sys.argv[3])
    backends: dict[str, type[Ours | OverMilvus]] = {"in_process": Ours, "milvus": OverMilvus}
    backend, _, kind = name.partition("-")
    items = len(world.vectors)
    if backend in backends:
        made: Searching = backends[backend](scratch, cast("Kind", kind), items)
    else:
        backend, made = name, LIBRARIES[name](scratch)
    begin = time.monotonic()
    made.build(world)
    built = time.monotonic() - begin
    common = {"backend": backend, "kind": made.kind, "items": items, "dim": world.vectors.shape[1]}
    common |= {"refine": made.refine} if made.refine > 1 else {}
    common |= {"build_seconds": round(built, 1), "bytes_per_item": round(made.stored_bytes() / len(world.vectors))}
    rows = [_measured(made, world, place) for place in range(len(SHARES)) if SHARES[place] == 1 or made.filters]
    plain = rows[0]["recall"]
    print(json.dumps([common | {"recall_at_100": plain} | _named(row) for row in rows]))
    made.close()


def _named(row: Row) -> Row:
    recall = row.pop("recall")
    return row | {"recall_filtered": None if row["filter_share"] == 1 else recall}


def _measured(made: Searching, world: IndexedWorld, place: int) -> Row:
    share = SHARES[place]
    made.keep(share, world)
    for effort in made.efforts:
        recall = _recall(made, world, place, effort)
        if recall >= _WANTED:
            break
    one, two = (_rates(made, world, effort, threads) for threads in (1, 2))
    return {
        "filter_share": share,
        "effort": effort,
        "recall": round(recall, 4),
        "p50_ms": round(1e3 * median(one), 3),
        "per_second_one_thread": round(len(one) / sum(one), 1),
        "per_second_two_threads": round(len(two) / _SECONDS, 1),
    }


def _recall(made: Searching, world: IndexedWorld, place: int, effort: int) -> float:
    """As ann-benchmarks counts: an item whose product reaches that of the true last one was found."""
    found = 0
    for query, truth in zip(world.queries[:CHECKED], world.truth[place], strict=True):
        ids = np.unique(made.search(query, effort))
        found += int((world.vectors[ids] @ query >= truth[-1] - _TOLERANCE).sum())
    return found / (CHECKED * K)


def _rates(made: Searching, world: IndexedWorld, effort: int, threads: int) -> list[float]:
    """Seconds of each search of several threads at once."""
    took: list[list[float]] = [[] for _ in range(threads)]

    def run(number: int) -> None:
        end = time.perf_counter() + _SECONDS
        while (begin := time.perf_counter()) < end:
            made.search(world.queries[(number * 397 + len(took[number])) % len(world.queries)], effort)
            took[number].append(time.perf_counter() - begin)

    made.search(world.queries[0], effort)
    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return [seconds for one in took for seconds in one]


if __name__ == "__main__":
    main()
