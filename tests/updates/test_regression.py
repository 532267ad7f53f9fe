"""A version that lost much of what its parent could do is stopped, with the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.config.training import DriftConfig
from pagoda.errors import GateError
from pagoda.evaluation.evaluate import evaluate
from pagoda.training.full.update import full_update
from pagoda.updates.full_evaluation import refuse_drop
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import CONFIG, hours, make


def test_a_drop_is_refused_and_a_gain_is_not(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    opened = OpenVersion(full_update(dataset, hours(0, 40), None, CONFIG, tmp_path / "out"), dataset)
    report = evaluate(opened, dataset, hours(40, 60))
    worse = report.model_copy(deep=True)
    metric = worse.methods["live"].groups["all"].metrics["recall@50"]
    worse.methods["live"].groups["all"].metrics["recall@50"] = metric.model_copy(
        update={"value": metric.value * 0.7, "high": metric.value * 0.8}
    )
    refuse_drop(report, worse, DriftConfig())
    refuse_drop(worse, report, DriftConfig(max_recall_drop=0.3))
    unsure = worse.model_copy(deep=True)
    unsure.methods["live"].groups["all"].metrics["recall@50"] = metric.model_copy(update={"value": metric.value * 0.7})
    refuse_drop(unsure, report, DriftConfig())
    with pytest.raises(GateError, match="max_recall_drop"):
        refuse_drop(worse, report, DriftConfig())
