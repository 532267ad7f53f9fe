"""The scheduler of one machine on a real log, with a real follower; only the full pipeline's servers are left out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConflictError, PagodaError
from pagoda.registry.publish import carry_out, plan_rollback
from pagoda.settings import Settings
from pagoda.updates.exclusive import exclusive
from pagoda.updates.scheduler import Timetable
from pipelines import update_scheduler
from pipelines.update_scheduler import Scheduler
from tests.training.worlds import config, make
from tests.updates.installations import Installation

CONFIG = config(bootstrap_epochs=1)
EVERY = timedelta(hours=8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 hours of clicks."""
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture
def home(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation whose full updates need no servers."""
    made = Installation(tmp_path / "home", dataset, CONFIG)

    def run_full(settings: Settings, dataset: str, window_end: str, *_: str, **__: str) -> str:
        state, end = made.state(), datetime.fromisoformat(window_end)
        start = state.versions[state.champion].window.end if state.champion else made.dataset.span().start
        return made.full(Window(start=start, end=end)).id

    monkeypatch.setattr(update_scheduler, "run_full", run_full)
    with made.followed():
        yield made


def scheduler(home: Installation, said: list[str]) -> Scheduler:
    return Scheduler(home.settings, str(home.dataset.path), Timetable(EVERY), CONFIG.to_yaml(), said.append)


def test_goes_through_the_datas_own_time(home: Installation) -> None:
    said: list[str] = []
    scheduler(home, said).through_data()
    versions = home.state().versions.values()
    assert [(one.update, one.base) for one in versions] == [
        ("full", None),
        ("incremental", 1),
        ("incremental", 1),
        ("full", None),
        ("incremental", 4),
    ]
    ends = [one.window.end + timedelta(seconds=60) for one in versions]
    assert ends == [datetime(1970, 1, 2, tzinfo=UTC) + timedelta(hours=hour) for hour in (0, 8, 16, 24, 32)]
    assert home.state().versions[4].parent == 1
    assert len(said) == 5 and "full update: g1 answers" in said[0]
    assert home.state().stable == "g4.5"


def test_started_again_it_does_nothing_twice(home: Installation) -> None:
    scheduler(home, []).through_data()
    head, said = home.log.state().head, list[str]()
    scheduler(home, said).through_data()
    assert home.log.state().head == head and said == []


def test_a_failed_update_is_told_and_tried_again(home: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    update_scheduler.run_full(home.settings, "", datetime(1970, 1, 1, 23, 59, tzinfo=UTC).isoformat(), "", "")
    said: list[str] = []
    schedule, moment = scheduler(home, said), datetime(1970, 1, 2, 8, tzinfo=UTC)
    real = update_scheduler.update_users

    def fails(*_: object) -> None:
        raise PagodaError("no disk")

    monkeypatch.setattr(update_scheduler, "update_users", fails)
    schedule.look(moment)
    assert "failed: no disk" in said[0]
    monkeypatch.setattr(update_scheduler, "update_users", real)
    schedule.look(moment + timedelta(minutes=1))
    assert home.state().stable == "g1.2"


def test_a_full_update_at_work_does_not_stop_incremental_ones(home: Installation) -> None:
    update_scheduler.run_full(home.settings, "", datetime(1970, 1, 1, 23, 59, tzinfo=UTC).isoformat(), "", "")
    said: list[str] = []
    schedule = scheduler(home, said)
    with exclusive(home.settings.home, "full"):  # the child finds it taken and ends with an error
        schedule.look(datetime(1970, 1, 3, 8, tzinfo=UTC))
        assert home.state().stable == "g1.2"
        schedule.look(datetime(1970, 1, 3, 8, tzinfo=UTC))
        schedule.close()
    assert sum("begins" in line for line in said) == 1
    assert any("another full run is at work" in line for line in said)


@pytest.fixture
def begun(home: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, list[str]], Scheduler]:
    """A scheduler that has begun a full update; in its place another program runs."""

    def begin(program: str, said: list[str]) -> Scheduler:
        monkeypatch.setattr(update_scheduler, "_PROGRAM", program)
        schedule = scheduler(home, said)
        schedule.look(datetime(1970, 1, 2, tzinfo=UTC))
        return schedule

    return begin


def test_a_full_update_may_log_as_much_as_it_likes(begun: Callable[[str, list[str]], Scheduler]) -> None:
    said: list[str] = []
    begun("import sys; sys.stderr.write('log\\n' * 100_000); print('g1')", said).close()
    assert said[1:] == ["full update done: g1"]


def test_what_went_wrong_in_a_full_update_is_told_and_kept(
    home: Installation, begun: Callable[[str, list[str]], Scheduler]
) -> None:
    said: list[str] = []
    begun("print('step 1'); raise ValueError('no disk\\nsee step 1')", said).close()
    log = home.settings.home / "logs" / "full-update.log"
    assert said[1:] == [f"full update failed: ValueError: no disk; all it said is in {log}"]
    assert "step 1" in log.read_text() and "Traceback" in log.read_text()


def test_ctrl_c_ends_the_scheduler_and_not_the_full_update(begun: Callable[[str, list[str]], Scheduler]) -> None:
    said: list[str] = []
    begun("import os; print(os.getpgid(0) == os.getpid())", said).close()
    assert said[1:] == ["full update done: True"], "a terminal interrupts a whole process group"


def test_a_second_ctrl_c_ends_the_full_update_too(
    begun: Callable[[str, list[str]], Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    schedule = begun("import signal; signal.pause()", said)
    wait, interrupts = subprocess.Popen.wait, iter([KeyboardInterrupt])

    def interrupted(process: subprocess.Popen[bytes]) -> int:
        if interrupt := next(interrupts, None):
            raise interrupt
        return wait(process)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    schedule.close()
    assert "full update failed" in said[1]


def test_a_version_that_somebody_rolled_back_stays_so_and_its_days_are_learned_by_the_next(home: Installation) -> None:
    scheduler(home, []).through_data()
    carry_out(home.log, plan_rollback(home.state(), "g1"))
    said: list[str] = []
    schedule = scheduler(home, said)
    schedule.look(datetime(1970, 1, 3, 0, 10, tzinfo=UTC))
    assert said == [] and home.state().stable == "g1"
    with exclusive(home.settings.home, "full"):  # the child ends with an error
        schedule.look(datetime(1970, 1, 4, tzinfo=UTC))
        schedule.close()
    assert said[0] == "1970-01-04 00:00 full update begins"


def test_only_one_scheduler(home: Installation) -> None:
    with exclusive(home.settings.home, "schedule"):
        arguments = ["schedule", "run", "--data", str(home.dataset.path), "--home", str(home.settings.home)]
        result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConflictError)


@pytest.mark.parametrize("given", [["--every", "soon"], ["--full-at", "25:00"]])
def test_refuses_times_that_mean_nothing(home: Installation, given: list[str]) -> None:
    result = CliRunner().invoke(app, ["schedule", "run", "--data", str(home.dataset.path), *given])
    assert isinstance(result.exception, PagodaError)


def test_the_verb_updates_and_says_so(home: Installation) -> None:
    arguments = ["update", "incremental", "--data", str(home.dataset.path), "--home", str(home.settings.home)]
    assert "No generation answers" in CliRunner().invoke(app, arguments).output
    update_scheduler.run_full(home.settings, "", datetime(1970, 1, 1, 23, 59, tzinfo=UTC).isoformat(), "", "")
    first, again = (CliRunner().invoke(app, arguments).output for _ in range(2))
    assert first.startswith("g1.2: ") and "answers after" in first
    assert "nothing to learn" in again
