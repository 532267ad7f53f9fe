"""Training's progress on a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_WEIGHT = 0.05
"""Of a batch in the loss shown, which is a moving average."""


class TerminalProgress:
    """A bar with epoch, loss and positives a second."""

    def __init__(self, console: Console) -> None:
        numbers = TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:,.0f}/s")
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            numbers,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._positives, self._epochs, self._done = 1, 1, 0
        self._loss: float | None = None

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        """See `pagoda.training.full.loop.Progress`."""
        self._positives, self._epochs, self._done = positives, epochs, done
        epoch = f"{min(done // positives + 1, epochs)}/{epochs}"
        total = positives * epochs
        self._task = self._bar.add_task("", total=total, completed=done, epoch=epoch, loss=0.0, rate=0.0)
        if done:
            self._bar.console.print(f"Going on after {done:,} of {total:,} positives, where an earlier run stopped.")

    def advance(self, positives: int, loss: float) -> None:
        """See `pagoda.training.full.loop.Progress`."""
        self._done += positives
        self._loss = loss if self._loss is None else self._loss + _WEIGHT * (loss - self._loss)
        epoch = min((self._done - 1) // self._positives + 1, self._epochs)
        rate = self._bar.tasks[0].speed or 0.0
        self._bar.update(self._task, advance=positives, epoch=f"{epoch}/{self._epochs}", loss=self._loss, rate=rate)

    def validated(self, epoch: int, value: float, *, best: bool) -> None:
        """See `pagoda.training.full.loop.Progress`."""
        loss = "" if self._loss is None else f", loss {self._loss:.3f}"
        self._bar.console.print(f"epoch {epoch}: validation {value:.4f}{loss}{'  [green]best[/]' if best else ''}")
