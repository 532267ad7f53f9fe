"""`pagoda evaluate` on a version that was really trained, in a folder or registered."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.evaluation.report import Report
from pagoda.generations.versions import VersionDraft, full_key
from pagoda.registry.factory import open_registry
from pagoda.settings import load_settings

from .worlds import hours, write_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset of 60 hours, and a version trained on the first 40."""
    from pagoda.config.training import parse_config
    from pagoda.training.full.update import full_update

    folder = tmp_path_factory.mktemp("trained")
    generator = np.random.default_rng(0)
    events = [
        (int(user), 100 + int(50 * generator.random() ** 2), hour, "click")
        for hour in range(60)
        for user in generator.choice(30, 10, replace=False)
    ]
    dataset = write_dataset(folder / "data", events, 50, FeatureSpec())
    channels = (
        "{kind: two_tower, share: 0.4}, {kind: item_to_item, share: 0.2, method: vectors}, {kind: popular, share: 0.2}",
        "{kind: editorial, share: 0.1, items: [100, 101, 102]}, {kind: second_generation, share: 0.1}",
    )
    full_update(dataset, hours(0, 40), None, parse_config(f"channels: [{', '.join(channels)}]"), folder / "model")
    return folder / "data", folder / "model"


def run(trained: tuple[Path, Path], *more: str) -> Result:
    data, model = trained
    return CliRunner().invoke(app, ["evaluate", "--version", str(model), "--data", str(data), *more])


def test_json_and_plot_of_everything_after_the_window(trained: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(trained, "--output", "json", "--plot", str(tmp_path / "recall.png"))
    assert result.exit_code == 0, result.output
    report = Report.model_validate_json(result.stdout)
    assert report.window == hours(40, 60).model_copy(update={"end": Dataset.open(trained[0]).span().end})
    assert report.available == 200
    (merged,) = report.mixture
    # What another generation gives is not the version's own, so nothing is said of it.
    assert merged.k == 10 and list(merged.channels) == ["two_tower", "item_to_item", "popular", "editorial"]
    assert min(one.recall.value for one in merged.channels.values()) > 0
    assert (tmp_path / "recall.png").stat().st_size > 1000


def test_a_window_a_limit_and_the_last_of_each_user(trained: tuple[Path, Path]) -> None:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=45)
    result = run(trained, "--window", f"{start.isoformat()}/1970-01-03", "--last", "--rows", "5", "--output", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["protocol"], found["rows"] + found["repeats"], found["window"]["end"]) == (
        "last",
        5,
        "1970-01-03T00:00:00Z",
    )


def test_a_window_that_was_learned_is_warned_about(trained: tuple[Path, Path]) -> None:
    result = run(trained, "--window", "1970-01-02/1970-01-03")
    assert result.exit_code == 0, result.output
    assert "knows part of this window" in " ".join(result.stderr.split())


def test_a_registered_version_is_fetched(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, model = trained
    draft = VersionDraft(
        key=full_key(hours(0, 40), None),
        update="full",
        window=hours(0, 40),
        folder=model / "version",
        state_folder=model / "state",
    )
    number = open_registry(load_settings(tmp_path)).register(draft).version
    arguments = ["--data", str(data), "--home", str(tmp_path), "--output", "json"]
    registered = CliRunner().invoke(app, ["evaluate", "--version", str(number), *arguments])
    assert registered.exit_code == 0, registered.output
    found = Report.model_validate_json(registered.stdout)
    in_folder = Report.model_validate_json(run(trained, "--output", "json").stdout)
    assert (found.methods, found.mixture) == (in_folder.methods, in_folder.mixture)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ("1970-01-02", "START/END"),
        ("1970-01-02T00:00/1970-01-03", "no zone"),
        ("1970-01-03/1970-01-02", "before its end"),
        ("1971-01-03/1971-01-04", "nothing to evaluate"),
    ],
)
def test_a_bad_window_is_refused(trained: tuple[Path, Path], window: str, says: str) -> None:
    result = run(trained, "--window", window)
    assert result.exit_code != 0
    assert says in str(result.exception)


def test_a_version_that_does_not_exist_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    for version, says in (("nope", "neither a folder"), ("3", "3")):
        arguments = ["evaluate", "--version", version, "--data", str(trained[0]), "--home", str(tmp_path)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code != 0
        assert says in str(result.exception)
