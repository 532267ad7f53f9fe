"""A full version that is much worse than the one it started from is stopped before anyone can register it."""

from __future__ import annotations

from pagoda.config.training import DriftConfig
from pagoda.errors import GateError
from pagoda.evaluation.report import Report

_METRIC = "recall@50"


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
