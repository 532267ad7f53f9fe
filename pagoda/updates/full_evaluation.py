"""How a full update's version is measured: itself where that can be, else its parent, or a training of its kind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pagoda.config.training import DriftConfig, TrainConfig
from pagoda.data.window import Window
from pagoda.errors import GateError, NothingToAskError
from pagoda.evaluation.judgement import Judgement, later_window
from pagoda.evaluation.report import Report
from pagoda.updates.full import FullUpdate
from pagoda.version_files.full import FullVersionFiles

if TYPE_CHECKING:
    from pagoda.training.full.side_inputs import SideInputs

EVALUATION, JUDGEMENT = "evaluation", "judgement"
"""Folders of the steps."""
REPORT, PARENT_REPORT, JUDGED = "report.json", "parent.json", "judgement.json"
_METRIC = "recall@50"

# What measures is imported where it does: the steps that read a report shall not wait for PyTorch.


def judge(update: FullUpdate) -> Judgement:
    """What the version is worth, and whose figures say so.

    Itself, on the positives after its window, where there are some hundreds. Without them, as every night when the
    window ends at the last interaction, its parent, on the window that the version has learned and the parent has not;
    of a first version, what its training step found.

    Raises:
        GateError: Its parent is much better on the same positives, see `evaluate`.
    """
    report, done = evaluate(update), update.outputs.done(JUDGEMENT)
    if not done and later_window(update.data, update.window) is None and (parent := update.parent_files()):
        update.step(JUDGEMENT, partial(_judge_parent, update, parent))
    if update.outputs.done(JUDGEMENT):
        return Judgement.model_validate_json((update.outputs.get(JUDGEMENT) / JUDGED).read_text())
    if report is None:
        return Judgement(of="itself", reason="there is no positive after the window")
    return Judgement(of="itself", report=report)


def evaluate(update: FullUpdate) -> Report | None:
    """Measure the version on the positives after its window; None when there are none yet.

    Raises:
        GateError: Its parent is much better on the same positives, so something went wrong.
    """
    later = _later(update)
    if later is None:
        return None

    def measure(folder: Path) -> None:
        _measure(update, later, folder)

    try:
        return Report.model_validate_json((update.step(EVALUATION, measure) / REPORT).read_text())
    except NothingToAskError:
        return None


def judge_first(update: FullUpdate, config: TrainConfig, beside: SideInputs) -> None:
    """Judge a first version before it is trained, by a training of its own, where no later positives can judge it."""
    if update.settings.evaluation.first_version and later_window(update.data, update.window) is None:
        update.step(JUDGEMENT, partial(_judge_first, update, config, beside))


def refuse_drop(report: Report, parent: Report, limits: DriftConfig) -> None:
    """Compare two versions on the same positives.

    This catches what broke, not what is a little worse, which the gates of a rollout judge. Few positives prove little,
    so the upper end of the new version's 95 % interval counts.

    Args:
        report: Of the new version.
        parent: Of the version that it started from, on the same window with the same seed.
        limits: How much it may lose.

    Raises:
        GateError: It lost more.
    """
    now = report.methods["live"].groups["all"].metrics[_METRIC]
    before = parent.summary()[_METRIC]
    if now.high < before * (1 - limits.max_recall_drop):
        raise GateError(
            f"drift check: {_METRIC} on the {report.rows:,} positives after the window is {now.value:.4f}, "
            f"and its parent has {before:.4f}: a drop of more than drift.max_recall_drop {limits.max_recall_drop:g}"
        )


def _judge_first(update: FullUpdate, config: TrainConfig, beside: SideInputs, folder: Path) -> None:
    from pagoda.training.full.judgement import judge_held_back

    judged = judge_held_back(
        update.data,
        update.window,
        config,
        beside=beside,
        repeats=update.settings.evaluation.repeats,
        checkpoints=update.scratch / "judging",
        processes=update.processes_here(config),
    )
    (folder / JUDGED).write_text(judged.model_dump_json(indent=1))


def _judge_parent(update: FullUpdate, parent: FullVersionFiles, folder: Path) -> None:
    from pagoda.training.full.judgement import judge_version

    files = update.files()
    judged = judge_version(
        parent,
        update.data,
        update.window,
        of="parent",
        learned=int(files.metrics()["positives"]),
        repeats=update.settings.evaluation.repeats,
        processes=update.processes_here(files.config),
    )
    (folder / JUDGED).write_text(judged.model_dump_json(indent=1))


def _measure(update: FullUpdate, later: Window, folder: Path) -> None:
    """Write the version's report, after comparing it with its parent's where there is one."""
    from pagoda.evaluation.evaluate import evaluate as evaluate_towers
    from pagoda.training.full.judgement import limits_of
    from pagoda.version_files.open_version import OpenVersion

    files, repeats = update.files(), update.settings.evaluation.repeats
    learned = int(files.metrics()["positives"]) * (1 if update.parent else files.config.bootstrap_epochs)
    processes = update.processes_here(files.config)
    ask = partial(evaluate_towers, dataset=update.data, window=later, repeats=repeats, processes=processes)
    limits = limits_of(learned)
    report = ask(OpenVersion(files, update.data), version=update.key, limits=limits, mixture=files.mixture())
    if parent := update.parent_files():
        before = ask(OpenVersion(parent, update.data), version=str(update.parent), limits=None)
        refuse_drop(report, before, files.config.drift)
        (folder / PARENT_REPORT).write_text(before.model_dump_json(indent=1))
    (folder / REPORT).write_text(report.model_dump_json(indent=1))


def _later(update: FullUpdate) -> Window | None:
    end = update.data.span().end
    return Window(start=update.window.end, end=end) if end > update.window.end else None
