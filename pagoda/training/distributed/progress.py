"""Training's progress from the first process to who started all of them: a line of output for each call."""

from __future__ import annotations

from typing import Any

import orjson

from pagoda.training.full.loop import Progress, Silent

_MARK = "pagoda-progress "


def told_progress(rank: int) -> Progress:
    """What the process of this number says: the first one's steps are those of all."""
    return _Told() if rank == 0 else Silent()


def relay(line: str, progress: Progress) -> None:
    """Pass on what a line of output says; any other line is nobody's."""
    if line.startswith(_MARK):
        call, *arguments = orjson.loads(line.removeprefix(_MARK))
        getattr(progress, call)(*arguments)


class _Told(Silent):
    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        """See `Progress`."""
        self._say("begin", positives, epochs, done)

    def advance(self, positives: int, loss: float) -> None:
        """See `Progress`."""
        self._say("advance", positives, loss)

    def _say(self, *call: Any) -> None:
        # Nobody reads any more when who started the processes is gone: that ends them, too.
        print(_MARK + orjson.dumps(call).decode(), flush=True)  # noqa: T201 - the launcher reads it
