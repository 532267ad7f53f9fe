"""Incremental updates on real servers: what users just did answers within seconds, while requests go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import mlflow
import pytest

from demos.client import RecallClient
from pagoda.data.dataset import Dataset
from pagoda.data.movielens import import_movielens
from pagoda.registry.log import open_log
from pagoda.registry.publish import carry_out, plan_rollback
from pagoda.registry.state import ReleaseState
from pagoda.settings import Settings
from pagoda.standalone.platform import Platform
from pagoda.updates.incremental_steps import Done, run_all
from pipelines.full_update import full_update
from pipelines.incremental_update import incremental_update
from pipelines.local import run_locally
from serving.recall.loading import load_store

from .full_updates import CONFIG

pytestmark = pytest.mark.integration
PUBLISHES, ROLLBACK_EVERY = 10, 5
RATE = 50
"""Requests a second."""
SWITCH_SECONDS = 2.0
"""How long the recall service may take to follow the log."""


@dataclass
class Home:
    """An installation that serves a full version; the present is a moment of the data."""

    settings: Settings
    dataset: Dataset
    now: datetime

    def state(self) -> ReleaseState:
        """What the log says."""
        return open_log(self.settings).state()

    def learn(self) -> Done:
        """Go on in the data's time until there is something to learn, and learn it."""
        while True:
            self.now += timedelta(hours=6)
            outcomes = list(run_all(self.settings, str(self.dataset.path), self.now).values())
            if isinstance(outcomes[0], Done):
                return outcomes[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """MovieLens-100K on a platform of its own, with a full version released and requests answered."""
    folder = tmp_path_factory.mktemp("home")
    import_movielens(folder / "data")
    dataset = Dataset.open(folder / "data")
    now = dataset.span().end - timedelta(days=40)
    platform = Platform(folder / "home")
    try:
        settings = platform.up(attached=True)
        arguments = {"dataset": str(dataset.path), "window_end": now.isoformat(), "config": CONFIG}
        assert run_locally(full_update, settings, arguments) == "g1"
        load_store(dataset, dataset.span().end, settings.redis.url)
        with RecallClient(settings.recall.url) as client:
            client.wait_ready()
        yield Home(settings, dataset, now)
    finally:
        platform.down()


def test_the_pipeline_serves_what_happened(home: Home) -> None:
    home.now += timedelta(days=1)
    arguments = {"dataset": str(home.dataset.path), "now": home.now.isoformat()}
    generation = run_locally(incremental_update, home.settings, arguments)
    assert generation == home.state().stable
    record = home.state().versions[home.state().generation(generation).incremental_version or 0]
    registered = mlflow.MlflowClient(home.settings.registry.uri).get_model_version("recall", str(record.version))
    assert registered.tags["update"] == "incremental" and registered.tags["base"] == "1"
    assert not run_locally(incremental_update, home.settings, arguments)


def test_an_update_answers_within_seconds(home: Home) -> None:
    done = home.learn()
    with RecallClient(home.settings.recall.url) as client:
        deadline = time.monotonic() + SWITCH_SECONDS
        while client.recall([1], 10)[0]["generation"] != done.manifest.id:
            assert time.monotonic() < deadline
    assert done.seconds_to_serve < 5


@dataclass
class Traffic:
    """Requests at a steady rate, and what was answered."""

    url: str
    answers: list[tuple[datetime, datetime, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask until told to stop."""
        with httpx.Client(base_url=self.url, timeout=30) as client:
            number = 0
            while not self.stop.wait(1 / RATE):
                number += 1
                self._ask(client, 1 + number % 900)

    def _ask(self, client: httpx.Client, user: int) -> None:
        body, asked = {"instances": [{"user_id": user, "k": 10}]}, datetime.now(UTC)
        answer = client.post("/v1/models/recall:predict", json=body)
        if answer.is_success:
            generation = answer.json()["predictions"][0]["generation"]
            self.answers.append((asked, datetime.now(UTC), generation))
        else:
            self.problems.append(f"{answer.status_code} {answer.text}")


def test_publishes_and_rollbacks_while_requests_run(home: Home) -> None:
    traffic, log = Traffic(home.settings.recall.url), open_log(home.settings)
    threads = [threading.Thread(target=traffic.run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, PUBLISHES + 1):
            home.learn()
            if number % ROLLBACK_EVERY == 0:
                carry_out(log, plan_rollback(log.state()))
        time.sleep(SWITCH_SECONDS)
    finally:
        traffic.stop.set()
        for thread in threads:
            thread.join()
    assert not traffic.problems
    releases = home.state().releases
    for asked, answered, generation in traffic.answers:
        current = {
            one.arms.stable for one in releases if asked - timedelta(seconds=SWITCH_SECONDS) <= one.at <= answered
        }
        before = [one.arms.stable for one in releases if one.at <= asked - timedelta(seconds=SWITCH_SECONDS)]
        assert generation in {*current, *before[-1:]}
    assert len({generation for _, _, generation in traffic.answers}) > PUBLISHES // 2


def test_a_full_version_catches_up_before_it_is_offered(home: Home) -> None:
    stable, window_end = home.state().stable, home.now - timedelta(hours=12)
    arguments = {"dataset": str(home.dataset.path), "window_end": window_end.isoformat(), "config": CONFIG}
    generation = run_locally(full_update, home.settings, {**arguments, "catch_up": home.now.isoformat()})
    manifest, state = home.state().generation(generation), home.state()
    assert manifest.incremental_version is not None and state.stable == generation != stable
    assert state.versions[manifest.full_version].parent == 1
    assert [one.arms.stable for one in state.releases][-2:] == [stable, generation]
    assert Path(state.versions[manifest.full_version].uri).exists()
    assert run_locally(full_update, home.settings, {**arguments, "catch_up": home.now.isoformat()}) == generation
