"""Processes that work is dealt to, each of which ends when the one that deals it does; and what they share."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Generic, TypeVar

from pagoda.errors import UnavailableError

Part = TypeVar("Part")
Found = TypeVar("Found")
Value = TypeVar("Value")
_VALUE = "value"


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


@dataclass(frozen=True)
class Shared(Generic[Value]):
    """A value in a folder, which processes open: its arrays are mapped, so that none has a copy of its own."""

    folder: Path

    @classmethod
    def write(cls, folder: Path, value: Value) -> Shared[Value]:
        """Leave it in a folder that exists and is this process's own; arrays that are not contiguous are copied."""
        arrays: list[pickle.PickleBuffer] = []
        (folder / _VALUE).write_bytes(pickle.dumps(value, protocol=5, buffer_callback=arrays.append))
        for number, array in enumerate(arrays):
            with array.raw() as content:
                (folder / str(number)).write_bytes(content)
        return cls(folder)

    def open(self) -> Value:
        """The value; its arrays cannot be written."""
        files = sorted((path for path in self.folder.iterdir() if path.name != _VALUE), key=lambda path: int(path.name))
        # What is unpickled is what this machine's own process wrote a moment ago, where nobody else can write.
        value: Value = pickle.loads((self.folder / _VALUE).read_bytes(), buffers=map(_mapped, files))  # noqa: S301
        return value


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        # An empty file cannot be mapped.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


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
