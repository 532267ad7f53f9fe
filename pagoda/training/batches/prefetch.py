"""Preparing what comes next while what is here is learned."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """The same items in the same order, each computed by another thread before it is asked for.

    Args:
        items: Are computed in one thread, one after the other; what they raise is raised here, in their place.
        depth: How many may wait. Memory follows it.
    """
    worker = ThreadPoolExecutor(1, "pagoda-prefetch")
    end = object()
    try:
        waiting = deque(worker.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(worker.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        worker.shutdown(cancel_futures=True)
