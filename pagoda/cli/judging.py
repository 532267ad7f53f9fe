"""What `pagoda train full` and `pagoda update full` say of a version's worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from pagoda.config.training import TrainConfig
    from pagoda.data.dataset import Dataset
    from pagoda.data.window import Window
    from pagoda.evaluation.judgement import Judgement
    from pagoda.training.full.side_inputs import SideInputs
    from pagoda.version_files.full import FullVersionFiles


def say(words: str, warnings: Sequence[str]) -> None:
    """Print what was found, and below it what is wrong with that."""
    console = Console()
    if words:
        console.print(words, highlight=False, markup=False, soft_wrap=True)
    for warning in warnings:
        console.print(Text("Warning: ", style="yellow").append(warning, style="default"), soft_wrap=True)


@dataclass(frozen=True)
class Judging:
    """Judges what one training makes, before it or after it."""

    dataset: Dataset
    window: Window
    config: TrainConfig
    out: Path
    console: Console
    repeats: bool

    def before(self, parent: FullVersionFiles | None, beside: SideInputs) -> Judgement | None:
        """Of a first version that learns all there is, by a training of its own; None for any other."""
        from pagoda.evaluation.judgement import later_window
        from pagoda.training.full.judgement import judge_held_back
        from pagoda.training.progress import TerminalProgress

        if parent is not None or self.config.validation or self.out.exists():
            return None
        if later_window(self.dataset, self.window) is not None:
            return None
        self.console.print("Judging: the same training on all but the last tenth of the window, then the version.")
        with TerminalProgress(self.console) as progress:
            return judge_held_back(
                self.dataset,
                self.window,
                self.config,
                beside=beside,
                repeats=self.repeats,
                progress=progress,
                checkpoints=self.out.with_name(f"{self.out.name}.judging"),
                processes=self.config.distributed.processes,
            )

    def after(self, files: FullVersionFiles, parent: FullVersionFiles | None) -> Judgement:
        """Of any other: itself by what came after its window, else its parent by the window."""
        from pagoda.data.window import Window
        from pagoda.evaluation.judgement import later_window
        from pagoda.training.full.judgement import judge_version

        learned = int(files.metrics()["positives"]) * (1 if parent else self.config.bootstrap_epochs)
        processes = self.config.distributed.processes
        ask = partial(judge_version, dataset=self.dataset, learned=learned, repeats=self.repeats, processes=processes)
        later = later_window(self.dataset, files.lineage.window)
        if parent is not None and later is None:
            return ask(parent, asked=self.window, of="parent")
        end = self.dataset.span().end
        return ask(files, asked=later or Window(start=files.lineage.window.end, end=end), of="itself")

    def write(self, judged: Judgement) -> None:
        """Put it beside the version, for programs and as a page."""
        from pagoda.evaluation.page import as_page
        from pagoda.storage.atomic import write_atomic

        write_atomic(self.out / "judgement.json", judged.model_dump_json(indent=1).encode())
        write_atomic(self.out / "judgement.html", as_page(judged).encode())
