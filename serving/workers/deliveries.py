"""Work of a follower that takes long, beside its steps: what serves is followed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future


class Deliveries:
    """One piece of work after another, each asked about until it is done."""

    def __init__(self, thread: Executor | None = None) -> None:
        """Nothing is done yet.

        Args:
            thread: A single one, since work of one kind does not expect another of it; None: the caller's.
        """
        self._thread = thread
        self._begun: dict[str, Future[None]] = {}

    def done(self, name: str, work: Callable[[], None]) -> bool:
        """Whether the work of a name is done; it is begun if it is not under way. Raises what it raised."""
        if self._thread is None:
            work()
            return True
        begun = self._begun.get(name)
        if begun is None:
            begun = self._begun[name] = self._thread.submit(work)
        if not begun.done():
            return False
        del self._begun[name]
        begun.result()
        return True

    def keep(self, names: Collection[str]) -> None:
        """Forget other work that is done, and what has not begun; what goes on comes to its end."""
        for name, begun in list(self._begun.items()):
            if name not in names and (begun.done() or begun.cancel()):
                del self._begun[name]

    @property
    def names(self) -> set[str]:
        """Of the work that was begun and is not known to be done."""
        return set(self._begun)

    def close(self) -> None:
        """Let what goes on come to its end, and nothing else begin."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
