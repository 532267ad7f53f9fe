"""Work dealt to a pool of processes, part by part."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from typing import TypeVar

from pagoda.errors import UnavailableError

Part = TypeVar("Part")
Found = TypeVar("Found")


def dealt(work: Callable[[Part], Found], parts: Sequence[Part], processes: int, what: str) -> Iterator[Found]:
    """What is found in each part, in their order, whoever is first.

    Args:
        work: Looks at a part; what it is and what it finds can be sent to another process.
        parts: What is dealt.
        processes: How many look at once; where one is enough, it is this one.
        what: What they do, for people, as in "a process that checked a date".

    Raises:
        UnavailableError: One of the processes was killed.
    """
    workers = min(processes, len(parts))
    if workers <= 1:
        yield from map(work, parts)
        return
    try:
        with worker_pool(workers) as pool:
            yield from pool.map(work, parts)
    except BrokenProcessPool as error:
        raise UnavailableError(f"a process that {what} was killed; is there enough memory?") from error


def evenly(size: int, stride: int, processes: int) -> list[slice]:
    """So many things in a row, as a slice for each process: of whole strides, but for the end of the last one.

    What is computed stride by stride is then computed alike by any number of processes. There are fewer slices where
    there are fewer strides, and one at least.
    """
    strides = -(-size // stride)
    slices = max(1, min(processes, strides))
    bounds = [min(stride * (number * strides // slices), size) for number in range(slices + 1)]
    return [slice(start, end) for start, end in pairwise(bounds)]


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """So many fresh processes, which together compute by as many threads as there are cores."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,))


def _begin(threads: int) -> None:
    # Libraries read it as they are loaded, which is with the first task.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # A worker waits for its next task for ever; one whose parent was killed would never hear of it.
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)
