"""`pagoda train full` without servers: one command from data to a version, and from a version to the next."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from pagoda.cli.main import app

from .worlds import CONFIG, make


def test_a_first_version_and_the_next(tmp_path: Path) -> None:
    make(tmp_path / "data")
    (tmp_path / "train.yaml").write_text(CONFIG.to_yaml())
    common = ["train", "full", "--data", str(tmp_path / "data"), "--config", str(tmp_path / "train.yaml")]
    end = "1970-01-02T16:00:00+00:00"
    result = CliRunner().invoke(app, [*common, "--out", str(tmp_path / "a"), "--window-end", end])
    assert result.exit_code == 0, result.output
    assert "19700101T" in result.stdout
    assert "samples per second" in result.stdout

    following = [*common, "--out", str(tmp_path / "b"), "--parent", str(tmp_path / "a"), "--output", "json"]
    result = CliRunner().invoke(app, following)
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["window"].startswith("19700102T160000Z-")
    assert len(metrics["losses"]) == 1


def test_a_window_without_anything_to_learn_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "data")
    asked = ["train", "full", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "a"), "--window-end"]
    for moment, says in (
        ("1969-01-01T00:00:00+00:00", "nothing to learn"),
        ("1970-01-02", "has no zone"),
        ("x", "ISO"),
    ):
        result = CliRunner().invoke(app, [*asked, moment])
        assert says in str(result.exception)
