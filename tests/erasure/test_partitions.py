"""Old interactions go a date at a time, never before they are learned, and who needs them is told."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.mirror import open_local_or_mirrored
from pagoda.data.window import Window
from pagoda.erasure import partitions
from pagoda.erasure.partitions import OldInteractions, delete_partitions, plan_partitions
from pagoda.errors import DataError
from pagoda.generations.release_log import ReleaseLog
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.storage.copies import upload
from tests.data.folders import interaction, write_dataset
from tests.registry.worlds import START, World

DAYS = [START + timedelta(days=number) for number in range(6)]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """An interaction at the noon of each of six days."""
    parts = [(f"date={day.date()}", [interaction(day + timedelta(hours=12))]) for day in DAYS]
    return write_dataset(tmp_path / "dataset", parts=parts)


@pytest.fixture
def log(tmp_path: Path) -> ReleaseLog:
    """Of two versions, which have learned the first and the second day."""
    log, world = ReleaseLog(str(tmp_path / "log")), World(tmp_path / "made")
    registry = FolderRegistry(tmp_path / "versions", log)
    for number in range(2):
        registry.register(world.full(number, log.state().champion))
    return log


def plan(dataset: Path | str, log: ReleaseLog, days: int) -> OldInteractions:
    return plan_partitions(str(dataset), log.state(), DAYS[-1] + timedelta(hours=13), days)


def days_of(dataset: Dataset) -> int:
    return sum(batch.num_rows for batch in dataset.batches())


def test_what_a_version_that_is_left_has_not_learned_stays_and_that_is_said(dataset: Path, log: ReleaseLog) -> None:
    old = plan(dataset, log, 2)
    assert (len(old.partitions), old.before) == (1, DAYS[1].date())
    assert old.waits == f"a version that is left learned up to {DAYS[1].date()} alone"
    assert plan(dataset, ReleaseLog(str(dataset / "none")), 2).partitions == ()
    assert plan(dataset, log, 6).partitions == ()


def test_whoever_needs_what_is_deleted_is_told_and_all_others_go_on(dataset: Path, log: ReleaseLog) -> None:
    for day in DAYS[:2]:  # Copies of the sink's.
        (dataset / f"tfrecord/date={day.date()}").mkdir(parents=True)
    delete_partitions(str(dataset), plan(dataset, log, 2))
    opened = Dataset.open(dataset)
    assert (days_of(opened), opened.span().start) == (5, DAYS[1] + timedelta(hours=12))
    assert [path.name for path in (dataset / "tfrecord").iterdir()] == [f"date={DAYS[1].date()}"]
    with pytest.raises(DataError, match=r"interactions before .* were deleted .*begin there or later"):
        list(opened.batches(Window(start=DAYS[0], end=DAYS[2])))
    assert days_of(opened) == 5


@pytest.mark.parametrize("done", range(3))
def test_killed_anywhere_the_dataset_is_whole_and_the_next_run_goes_on(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    calls, real = [0], partitions.delete
    old = OldInteractions(DAYS[3].date(), tuple(f"date={day.date()}" for day in DAYS[:3]), (), 0)

    def dies(url: str) -> None:
        if calls[0] == done:
            raise KeyboardInterrupt
        calls[0] += 1
        real(url)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(partitions, "delete", dies)
        delete_partitions(str(dataset), old)
    assert days_of(Dataset.open(dataset)) == 3
    delete_partitions(str(dataset), old)
    assert len(list((dataset / "interactions").iterdir())) == 3
    earlier = OldInteractions(date(2000, 1, 1), old.partitions[:1], (), 0)
    delete_partitions(str(dataset), earlier)  # An older run that comes late changes nothing.
    assert days_of(Dataset.open(dataset)) == 3


@pytest.mark.integration
def test_a_dataset_in_a_bucket_and_its_copies(bucket: str, dataset: Path, log: ReleaseLog, tmp_path: Path) -> None:
    for path in dataset.rglob("*.*"):
        if path.is_file():
            upload(path, f"{bucket}/d/{path.relative_to(dataset).as_posix()}")
    url = f"{bucket}/d"
    assert days_of(open_local_or_mirrored(url, tmp_path / "copies")) == 6
    delete_partitions(url, plan(url, log, 2))
    assert days_of(open_local_or_mirrored(url, tmp_path / "copies")) == 5


def test_the_command_line_shows_before_it_deletes(dataset: Path, log: ReleaseLog, tmp_path: Path) -> None:
    assert log.state().versions
    words = ["retention", "--interactions", "1", "--home", str(tmp_path)]
    shown = CliRunner().invoke(app, words, catch_exceptions=False).stdout
    assert "Would delete (--delete does it): interactions of 1 dates" in shown
    assert days_of(Dataset.open(dataset)) == 6
    deleted = CliRunner().invoke(app, [*words, "--delete"], catch_exceptions=False).stdout
    assert f"before {DAYS[1].date()}" in deleted
    assert "learned up to" in deleted
    assert days_of(Dataset.open(dataset)) == 5
