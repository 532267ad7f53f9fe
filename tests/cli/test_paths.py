"""Paths and values are printed as they are, whatever brackets they hold: Rich reads `[old]` as a style elsewhere."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from demos import showing
from pagoda.cli.main import app
from pagoda.load_test.outcomes import Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.rendering import as_table
from pagoda.load_test.report import report_of
from pagoda.settings import Settings
from pagoda.standalone.status import Health, ServiceStatus
from pagoda.telemetry.scrape import MetricChange, Scrape
from pagoda.telemetry.service_state import state_of
from pagoda.telemetry.tables import as_tables

NAMES = ["a[/b]", "shop[old]", "[red]x"]
LOG = "user_id,item_id,timestamp\n" + "".join(
    f"{user},{(user + step) % 9},2024-01-{1 + step:02d}T10:00:00Z\n" for user in range(30) for step in range(8)
)


def run(*words: object) -> str:
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", NAMES)
def test_import_check_and_the_platforms_verbs(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(LOG)
    out = folder / "out"
    assert f"{out}: 240 interactions" in run("data", "import", "csv", out, "--interactions", folder / "log.csv")
    assert f"{out}: 240 interactions" in run("data", "check", out)
    home = folder / "home"
    assert f"There is no platform running in {home}." in run("down", "--home", home)


def test_training_and_evaluation(tmp_path: Path) -> None:
    folder = tmp_path / "a[/b]"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(LOG)
    run("data", "import", "csv", folder / "d", "--interactions", folder / "log.csv")
    (folder / "c.yaml").write_text("model: {dim: 4}\nbootstrap_epochs: 1\n")
    cut = "2024-01-07T00:00:00+00:00"
    words = ["train", "full", "--data", folder / "d", "--config", folder / "c.yaml", "--window-end", cut]
    assert str(folder / "v") in run(*words, "--out", folder / "v")
    run("evaluate", "--version", folder / "v", "--data", folder / "d", "--plot", folder / "p.png")
    words = ["train", "incremental", "--data", folder / "d", "--base", folder / "v", "--out", folder / "i"]
    assert str(folder / "i") in run(*words)


def test_addresses_titles_and_the_demos_last_words(tmp_path: Path) -> None:
    shown, url = StringIO(), "http://[::1]:8080/[/b]"
    console = Console(file=shown, width=400)
    status = ServiceStatus("redis", Health.HEALTHY, 1, url, 0.0, 0, "")
    showing.starting(console)([status])
    console.print(as_table(report_of(LoadPlan([1], rate=0, seconds=1), Outcomes(), url, 1)))
    console.print(as_tables(state_of(MetricChange(Scrape(0.0, {}), Scrape(1.0, {})), url)))
    assert shown.getvalue().count(url) == 3
    assert str(tmp_path / "a[/b]") in showing.ending(tmp_path / "a[/b]", Settings(home=tmp_path), kept=True)
