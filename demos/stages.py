"""Where the time goes: named stages of a demo, shown as they run and summed up at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


class Stages:
    """Wall-clock seconds by stage, in order."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and time it."""
        self.console.rule(f"[bold]{name}", align="left", style="dim")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)

    @contextmanager
    def steps(self) -> Iterator[Callable[[str, str], None]]:
        """Show the steps of a pipeline as they run, each with its time."""
        columns = (SpinnerColumn(finished_text="[green]✓"), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=self.console.file)) as progress:
            running: dict[str, TaskID] = {}

            def report(name: str, status: str) -> None:
                if status == "running":
                    running[name] = progress.add_task(name, total=1)
                elif status == "SUCCESS":
                    progress.update(running[name], completed=1)

            yield report

    def table(self) -> Table:
        """Seconds and share of each stage."""
        total = sum(self.seconds.values())
        table = Table("stage", "seconds", "share", title="Where the time went")
        for column in table.columns[1:]:
            column.justify = "right"
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}", f"{seconds / total:.0%}")
        table.add_section()
        table.add_row("all", f"{total:.1f}", "")
        return table
