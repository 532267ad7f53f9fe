"""A replay's progress on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pagoda.data.window import Window


class ReplayTerminalProgress:
    """A bar that fills step by step, with the moment in the log that is reached."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> ReplayTerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, steps: int) -> None:
        """See `pagoda.replay.replay.ReplayProgress`."""
        self._task = self._bar.add_task("first version", total=steps)

    def advance(self, step: Window) -> None:
        """See `pagoda.replay.replay.ReplayProgress`."""
        self._bar.update(self._task, advance=1, description=f"{step.end:%Y-%m-%d %H:%M}")
