"""The incremental update of an installation: chains of each arm, served rows, crashes, proofs, nothing to do."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.embeddings.segment import Segment
from pagoda.errors import ConflictError, GateError, IntegrityError
from pagoda.generations.creation import add_incremental
from pagoda.registry.publish import plan_rollback, publish
from pagoda.updates import incremental, incremental_steps
from pagoda.updates.exclusive import exclusive
from pagoda.updates.incremental import IncrementalUpdate, Nothing, resolve, scratch_of
from pagoda.updates.incremental_steps import Done, carry_out, catch_up_to, run, run_all
from pagoda.updates.summary import as_json, in_words
from tests.training.worlds import SPEC, config, hours, make

from .installations import Installation

CONFIG = config(bootstrap_epochs=1)
LATENESS = timedelta(seconds=CONFIG.incremental.lateness_seconds)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 hours of clicks."""
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture
def home(dataset: Dataset, tmp_path: Path) -> Iterator[Installation]:
    """An installation that serves a full version of the first 38 hours, followed."""
    made = Installation(tmp_path / "home", dataset, CONFIG)
    made.full(hours(0, 38))
    with made.followed():
        yield made


def at(hour: float) -> datetime:
    """When windows end at that hour."""
    return hours(0, 1).start + timedelta(hours=hour) + LATENESS


def learn(home: Installation, until: float) -> Done:
    done = run_all(home.settings, str(home.dataset.path), at(until))[home.state().champion or 0]
    assert isinstance(done, Done)
    return done


def update_of(home: Installation, until: float) -> IncrementalUpdate:
    path = str(home.dataset.path)
    update = resolve(home.settings, path, 1, at(until), lateness_seconds=LATENESS.total_seconds())
    assert isinstance(update, IncrementalUpdate)
    return update


def test_serves_what_was_learned(home: Installation) -> None:
    done = learn(home, 40)
    assert home.state().stable == done.manifest.id == "g1.2"
    assert (done.record.base, done.record.parent, done.record.window) == (1, None, hours(38, 40))
    segment = Segment.open(Path(done.record.uri) / "segment")
    np.testing.assert_array_equal(home.served_rows("g1.2", segment.ids), segment.rows)
    assert done.record.rows == done.record.metrics["rows"] == len(segment)
    assert done.record.state_uri


def test_each_builds_on_the_one_before(home: Installation) -> None:
    manifests = [learn(home, until).manifest for until in (40, 41, 43)]
    assert [manifest.id for manifest in manifests] == ["g1.2", "g1.3", "g1.4"]
    assert [ref.version for ref in manifests[-1].segments] == [4, 3, 2]
    assert manifests[-1].window.end == hours(0, 43).end
    assert manifests[-1].item_vectors == manifests[0].item_vectors


def test_says_when_there_is_nothing_to_learn(home: Installation) -> None:
    learn(home, 40)
    head = home.log.state().head
    for until in (39, 40):
        outcome = run(home.settings, str(home.dataset.path), 1, at(until))
        assert isinstance(outcome, Nothing) and "has learned up to" in outcome.reason
    quiet = run(home.settings, str(home.dataset.path), 1, at(40) + timedelta(microseconds=1))
    assert isinstance(quiet, Nothing) and "no positive" in quiet.reason
    assert "nothing to learn" in in_words(1, quiet) and as_json(1, quiet)["version"] is None
    assert home.log.state().head == head


class Clicks:
    """A dataset of clicks whose newest lie at these seconds from a moment."""

    def __init__(self, moment: datetime, *seconds: float) -> None:
        self.spec = SPEC
        self._at = [moment + timedelta(seconds=second) for second in seconds]

    def span(self) -> Window:
        return Window(start=self._at[0], end=self._at[-1] + timedelta(microseconds=1))

    def count(self, window: Window, *, events: object) -> int:
        assert events == self.spec.positives
        return sum(window.start <= at < window.end for at in self._at)


def test_the_first_click_is_learned_and_a_busy_log_keeps_its_minute(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    for ages, learned in (((-40,), -40), ((-3600,), -3600), ((-300, -90, -40), -61), ((-3600, -90), -90)):
        monkeypatch.setattr(incremental, "open_dataset", lambda *_, ages=ages: Clicks(now, *ages))
        found = resolve(home.settings, "d", 1, lateness_seconds=60.0)
        assert isinstance(found, IncrementalUpdate)
        assert abs((found.window.end - now).total_seconds() - learned) < 5


def test_a_moment_that_is_given_has_its_minute(home: Installation, dataset: Dataset) -> None:
    assert resolve(home.settings, str(dataset.path), 1, at(40), lateness_seconds=60.0).window == hours(38, 40)  # type: ignore[union-attr]


def test_without_a_generation_there_is_nothing_to_update(tmp_path: Path, dataset: Dataset) -> None:
    assert run_all(Installation(tmp_path, dataset, CONFIG).settings, str(dataset.path)) == {}


def test_twice_the_same_window_and_parent_is_one_version(home: Installation) -> None:
    update = update_of(home, 40)
    first, second = carry_out(update), carry_out(update)
    assert first.record.version == second.record.version == 2
    assert Counter(record.kind for record in home.log.records())["released"] == 2


STEPS = ("train", "check", "register", "add_incremental", "publish")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_stopped_at_a_step_and_run_again(
    home: Installation, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    real = getattr(incremental_steps, step)

    def dies(*arguments: object) -> None:
        if after:
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(incremental_steps, step, dies)
    with pytest.raises(KeyboardInterrupt):
        run_all(home.settings, str(home.dataset.path), at(40))
    assert home.state().stable == ("g1.2" if after and step == "publish" else "g1")
    monkeypatch.undo()
    run_all(home.settings, str(home.dataset.path), at(40))
    kinds = Counter(record.kind for record in home.log.records())
    assert (kinds["registered"], kinds["generation"], kinds["released"]) == (2, 2, 2)
    assert home.state().stable == "g1.2"


_KILLED = """
import os, sys
from pathlib import Path
from datetime import datetime
from pagoda.settings import Settings
from pagoda.updates.incremental_steps import run_all
home, dataset, now, left = sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NONBLOCK
def die(event, arguments):
    global left
    if event not in EVENTS or not str(arguments[0]).startswith(home):
        return
    if event == "open" and not arguments[2] & ~READ:
        return
    left -= 1
    if left == 0:
        os._exit(9)
sys.addaudithook(die)
run_all(Settings(home=Path(home)), dataset, now)
"""


@pytest.mark.parametrize("stride", [40, pytest.param(1, marks=pytest.mark.long)], ids=["sampled", "all"])
def test_killed_before_a_change_of_a_file_and_run_again(home: Installation, stride: int) -> None:
    """Every file that is made, moved or removed is a step, from the first of training to the last of publishing."""
    step, until, killed = 1 + stride // 2, 38.0, True
    while killed:
        before, until = home.state(), until + 0.25
        arguments = [str(home.settings.home), str(home.dataset.path), at(until).isoformat(), str(step)]
        code = subprocess.run([sys.executable, "-c", _KILLED, *arguments], check=False).returncode
        killed = code == 9
        assert killed or code == 0
        assert home.state().stable in (before.stable, f"g1.{max(home.state().versions)}")
        run_all(home.settings, str(home.dataset.path), at(until))
        state = home.state()
        assert state.generation(state.stable or "").window.end == at(until) - LATENESS
        assert len(state.versions) == len(before.versions) + 1
        step += stride
    assert 38 < until < 60 and step > 40


def test_one_changed_weight_of_the_base_is_caught_before_registration(home: Installation) -> None:
    learn(home, 40)
    head = home.log.state().head
    towers = scratch_of(home.settings, 1) / "version" / "towers.safetensors"
    tensors = load_file(towers)
    tensors["user.projection.bias"][0] += 1e-6
    save_file(tensors, towers)
    with pytest.raises(IntegrityError, match="towers"):
        run_all(home.settings, str(home.dataset.path), at(42))
    assert home.log.state().head == head


def test_after_a_rollback_it_builds_on_what_serves(home: Installation) -> None:
    for until in (40, 41):
        learn(home, until)
    draft = plan_rollback(home.state()).draft()
    assert draft is not None
    home.log.append(draft.kind, draft.body)
    done = learn(home, 42)
    assert (done.record.parent, done.record.window) == (2, hours(40, 42))
    assert home.state().stable == "g1.4"


def test_a_new_full_version_starts_from_the_full_one_and_catches_up_before_it_is_offered(home: Installation) -> None:
    learn(home, 46)
    manifest = home.full(hours(38, 44), serve=False)
    assert home.state().versions[manifest.full_version].parent == 1
    caught_up = catch_up_to(home.settings, str(home.dataset.path), manifest.full_version, at(47))
    assert caught_up is not None and home.state().stable == "g1.2"
    assert caught_up.window.end == hours(0, 47).end
    publish(home.log, caught_up.id, "stable")
    done = learn(home, 48)
    assert (done.record.base, done.record.parent) == (manifest.full_version, caught_up.incremental_version)


def test_each_arm_has_its_own_chain(home: Installation) -> None:
    learn(home, 40)
    candidate = home.full(hours(38, 42), serve=False)
    home.log.append("released", {"arms": {"stable": "g1.2", "canary": candidate.id}, "reason": "test"})
    outcomes = run_all(home.settings, str(home.dataset.path), at(44))
    arms = home.state().arms
    assert list(outcomes) == [1, candidate.full_version]
    assert (arms.stable, arms.canary) == tuple(one.manifest.id for one in outcomes.values() if isinstance(one, Done))
    windows = [home.state().versions[one.record.version].window for one in outcomes.values() if isinstance(one, Done)]
    assert windows == [hours(40, 44), hours(42, 44)]


def test_a_fork_of_the_chain_is_not_published(home: Installation) -> None:
    one, other = update_of(home, 40), update_of(home, 41)
    carry_out(one)
    incremental_steps.train(other)
    record = incremental_steps.register(other)
    with pytest.raises(GateError, match="does not build on it"):
        incremental_steps.publish(other, add_incremental(home.log, record.version))
    assert home.state().stable == "g1.2"


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path, "incremental"):
        with pytest.raises(ConflictError, match="another incremental run"), exclusive(tmp_path, "incremental"):
            pass
        with exclusive(tmp_path, "full"):
            pass
    with exclusive(tmp_path, "incremental"):
        pass
