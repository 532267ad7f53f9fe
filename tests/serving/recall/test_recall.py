"""The recall service end to end: a real tower, Milvus and Redis, compared with the same computed in this process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pyarrow as pa
import pytest

from pagoda.data.history.histories import Histories
from pagoda.data.window import Window, from_us
from pagoda.embeddings.tables import TablesWriter
from pagoda.generations.holding import Holding
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.rollout.backends.local.backend import LocalBackend
from pagoda.rollout.backends.local.probe import GenerationProbe
from pagoda.rollout.commands import start
from pagoda.rollout.driver import Driver
from pagoda.rollout.measures.outcome_stream import StreamMetrics
from pagoda.rollout.online_gates import OnlineGates
from pagoda.rollout.policy import RolloutPolicy, Step
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase
from pagoda.rollout.state.split import ARM_HEADER
from pagoda.settings import CollectionConfig
from pagoda.version_files.open_version import OpenVersion
from serving.tower.archive import archive_name, place
from tests.redis_databases import database
from tests.rollout.worlds import evidence
from tests.serving.callers import HEADERS
from tests.serving.installation import Installation, add_incremental_version, install, recall_service
from tests.serving.torchserve import RunningTower
from tests.serving.worlds import ITEMS, LENGTH, NOW_US, World, ids_of

pytestmark = pytest.mark.integration
QUICK = RolloutPolicy(
    steps=(Step(percent=50, minimum_seconds=0, minimum_requests=1),),
    online=OnlineGates(errors=None, latency=None, short_answers=None, fallbacks=None, clicks=None),
)
PREDICT, INFER = "/v1/models/recall:predict", "/v2/models/recall/infer"


@pytest.fixture(scope="module", params=["torchserve", "in_process"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Where the tower runs."""
    return str(request.param)


@pytest.fixture(scope="module")
def installation(
    request: pytest.FixtureRequest,
    runtime: str,
    tmp_path_factory: pytest.TempPathFactory,
    milvus_uri: str,
    redis_url: str,
) -> Iterator[Installation]:
    """A released generation, with either type of IDs."""
    folder, url = tmp_path_factory.mktemp("installation"), database(redis_url, 8)
    if runtime == "torchserve":
        tower: RunningTower = request.getfixturevalue("tower")
        made = install(folder, tower.tables, milvus_uri, url, version=12, id_type="string")
        with tower.models() as models:
            models.ensure(12, made.home / "archives" / archive_name(12))
            yield made
            models.retire(12)
    else:
        made = install(folder, folder / "tables", milvus_uri, url, version=11, id_type="int64")
        place(made.home / "archives" / archive_name(11), 11, made.world.tables / "towers")
        yield made
    collections = MilvusCollections(milvus_uri)
    collections.drop(made.manifest.collection)
    collections.close()


@pytest.fixture(scope="module")
def tower_url(request: pytest.FixtureRequest, runtime: str) -> str:
    """Of its server, where it has one."""
    return str(request.getfixturevalue("tower").url) if runtime == "torchserve" else ""


@pytest.fixture(scope="module")
def recall(installation: Installation, tower_url: str) -> Iterator[httpx.Client]:
    """The service, ready."""
    log = installation.home / "recall.log"
    with (
        recall_service(installation.environment(tower_url), log) as url,
        httpx.Client(base_url=url, headers=HEADERS) as client,
    ):
        yield client


def expected(installation: Installation, asked: dict[str, Any]) -> list[tuple[int | str, float]]:
    """The items from the registered version's files in this process: nothing served, no index, no store."""
    dataset, world = installation.dataset, installation.world
    version = OpenVersion(installation.registered(), dataset)
    scores = version.item_vectors() @ user_vector(installation, version, asked)
    ids, years = (dataset.items().column(name).to_numpy() for name in ("item_id", "year"))
    wanted = np.ones(len(ids), bool)
    if asked.get("exclude_seen"):
        wanted &= ~np.isin(ids, clicked(installation, asked["user_id"]))
    if "filter" in asked:
        wanted &= years >= asked["filter"]["year"]["gte"]
    names = dict(zip(ids_of(_items(world)).tolist(), _items(world), strict=True))
    order = [place for place in np.argsort(-scores) if wanted[place]]
    return [(names[int(ids[place])], float(scores[place])) for place in order[: asked["k"]]]


def user_vector(installation: Installation, version: OpenVersion, asked: dict[str, Any]) -> np.ndarray:
    """As evaluation computes it: history by `HistoryState`, profile from the dataset, eager towers."""
    user, moment = ids_of([asked["user_id"]]), np.array([NOW_US])
    if "history" in asked:
        items = ids_of([event["item_id"] for event in asked["history"]])
        times = np.array([event["timestamp"] for event in asked["history"]])
        histories = Histories(LENGTH, items, times, np.array([0]), np.array([len(items)]))
    else:
        state = installation.registered().history()
        assert state is not None
        histories = state.read(user, moment)
    context = pa.table({"device": pa.array([asked.get("context", {}).get("device")], pa.string())})
    return version.user_vectors(user, moment, histories, context)[0]


def clicked(installation: Installation, user: int | str) -> np.ndarray:
    """What a user clicked before `NOW_US`."""
    dataset = installation.dataset
    window = Window(start=dataset.span().start, end=from_us(NOW_US))
    batches = dataset.batches(window, events=["click"], columns=["user_id", "item_id"])
    users, items = (np.concatenate(column) for column in zip(*(_columns(batch) for batch in batches), strict=True))
    return items[users == ids_of([user])[0]]


def _columns(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    return batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()


def _items(world: World) -> list[int | str]:
    return [world.item(number) for number in range(ITEMS)]


def questions(installation: Installation) -> list[dict[str, Any]]:
    """Two different users and ways to ask."""
    world = installation.world
    return [
        {"user_id": world.user(5), "k": 10, "timestamp": NOW_US, "exclude_seen": True, "context": {"device": "tv"}},
        {
            "user_id": world.user(9),
            "k": 15,
            "timestamp": NOW_US,
            "history": [{"item_id": world.item(3), "timestamp": NOW_US - 60_000_000}],
            "filter": {"year": {"gte": 1980}},
        },
    ]


def assert_same(items: list[tuple[int | str, float]], wanted: list[tuple[int | str, float]]) -> None:
    """The same items in the same order, with the same scores."""
    assert [item for item, _ in items] == [item for item, _ in wanted]
    np.testing.assert_allclose([score for _, score in items], [score for _, score in wanted], atol=1e-5)


def test_v1_agrees_with_the_registered_version_in_process(installation: Installation, recall: httpx.Client) -> None:
    asked = questions(installation)
    answer = recall.post(PREDICT, json={"instances": asked}).raise_for_status().json()
    for one, prediction in zip(asked, answer["predictions"], strict=True):
        assert_same([(item["item_id"], item["score"]) for item in prediction["items"]], expected(installation, one))
        assert (prediction["generation"], prediction["arm"], prediction["known_user"]) == (
            installation.manifest.id,
            "stable",
            True,
        )


def test_v2_agrees_with_the_registered_version_in_process(installation: Installation, recall: httpx.Client) -> None:
    strings = installation.world.spec.id_type == "string"
    for one in questions(installation):
        inputs = [_tensor("user_id", "BYTES" if strings else "INT64", one["user_id"])]
        inputs += [_tensor(name, "INT64", one[name]) for name in ("k", "timestamp")]
        inputs += [
            _tensor(name, "BYTES", orjson.dumps(one[name]).decode())
            for name in ("history", "filter", "context")
            if name in one
        ]
        inputs.append(_tensor("exclude_seen", "BOOL", one.get("exclude_seen", False)))
        answer = recall.post(INFER, json={"id": "q", "inputs": inputs}).raise_for_status().json()
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        assert_same(list(zip(outputs["item_id"], outputs["score"], strict=True)), expected(installation, one))
        assert outputs["generation"] == [installation.manifest.id]


def _tensor(name: str, datatype: str, value: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [1], "data": [value]}


def test_an_explained_answer_is_the_same_and_says_what_was_known(
    installation: Installation, recall: httpx.Client
) -> None:
    asked, other = questions(installation)
    body = {"instances": [{**asked, "explain": True}, other]}
    explained, plain = recall.post(PREDICT, json=body).raise_for_status().json()["predictions"]
    assert_same([(item["item_id"], item["score"]) for item in explained["items"]], expected(installation, asked))
    assert_same([(item["item_id"], item["score"]) for item in plain["items"]], expected(installation, other))
    said, had = explained["explanation"], clicked(installation, asked["user_id"])
    assert "explanation" not in plain
    assert said["excluded"] == len(set(had.tolist()))
    assert said["user"]["history"]["events"] == min(len(had), LENGTH)
    assert {"age"} <= set(said["user"]["profile"]) <= {"age", "gender"}
    assert said["user"]["id_row"] == {"source": "full", "versions": [installation.world.version]}
    assert said["breakers"][f"index {installation.manifest.collection}"] == "closed"
    assert [one["found"] for one in said["channels"]] == [asked["k"]]


def test_unknown_users_get_an_answer(installation: Installation, recall: httpx.Client) -> None:
    asked = {"user_id": installation.world.user(4000), "k": 5}
    (prediction,) = recall.post(PREDICT, json={"instances": [asked]}).json()["predictions"]
    assert prediction["known_user"] is False
    assert len(prediction["items"]) == 5
    with_profile = {**asked, "profile": {"age": 60}}
    (other,) = recall.post(PREDICT, json={"instances": [with_profile]}).json()["predictions"]
    assert [item["score"] for item in other["items"]] != [item["score"] for item in prediction["items"]]


def test_what_the_tower_or_the_filter_refuses_is_named(installation: Installation, recall: httpx.Client) -> None:
    user = installation.world.user(1)
    for fields, named in (
        ({"profile": {"age": "old"}}, "feature 'age'"),
        ({"filter": {"year": {"gte": "x"}}}, "instances.0.filter.year.gte"),
        ({"filter": {"genres": {"any": []}}}, "instances.0.filter.genres.any"),
    ):
        answer = recall.post(PREDICT, json={"instances": [{"user_id": user, **fields}]})
        assert answer.status_code == 400
        assert named in answer.json()["error"]


def test_an_incremental_is_rolled_out_without_a_mixture(
    installation: Installation, recall: httpx.Client, tower_url: str
) -> None:
    world, log, stable = installation.world, installation.log, installation.manifest
    users = [world.user(number) for number in range(40)]
    manifest = add_incremental_version(installation, users[:20])
    # What its follower says, which is the test itself.
    Holding(head=0, current=stable.id, held=(stable.id, manifest.id)).write(world.tables)
    driver = driver_of(installation, tower_url)
    start(log, manifest.id, policy=QUICK, by="test")

    def driven_to(phase: Phase) -> bool:
        driver.reconcile()
        rollout = rollout_of(log.state())
        return rollout is not None and rollout.phase is phase

    follow(lambda: driven_to(Phase.CANARY))
    split = split_of(log.state())
    assert split and split.canary == manifest.id
    before = ask(recall, users, {ARM_HEADER: "stable"})
    chosen = [(choice.arm, choice.generation) for choice in map(split.choose, users)]
    assert {arm for arm, _ in chosen} == {"stable", "canary"}
    # The stable arm stands in for a canary that is late, as it may be on a loaded machine.
    follow(lambda: [(one["arm"], one["generation"]) for one in ask(recall, users)] == chosen)
    follow(lambda: driven_to(Phase.PROMOTED))
    TablesWriter(world.tables).set_current(manifest.id)
    follow(lambda: {one["generation"] for one in ask(recall, users)} == {manifest.id})
    changed = [one["items"] != other["items"] for one, other in zip(before, ask(recall, users), strict=True)]
    assert changed == [True] * 20 + [False] * 20
    told = ask(recall, users, explain=True)
    sources = [one["explanation"]["user"]["id_row"] for one in told]
    assert sources[:20] == [{"source": "incremental", "versions": [manifest.incremental_version]}] * 20
    assert [one["source"] for one in sources[20:]] == ["full" if one["known_user"] else "none" for one in told[20:]]
    assert {one["known_user"] for one in told[20:]} == {True, False}


def driver_of(installation: Installation, tower_url: str) -> Driver:
    """What carries rollouts out on one machine. Offline gates are others' matter."""
    home, shelf = installation.home, MilvusCollections(installation.milvus_uri)
    backend = LocalBackend(
        shelf,
        GenerationProbe(shelf, timeout_seconds=30),
        index=CollectionConfig(),
        tower_url=tower_url,
        tables=installation.world.tables,
        memory=home / "applied",
        state=installation.log.state,
    )
    return Driver(installation.log, backend, StreamMetrics(installation.redis_url), lambda *_: evidence())


def ask(
    recall: httpx.Client, users: list[int | str], headers: dict[str, str] | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """One answer for several users."""
    instances = [{"user_id": user, "timestamp": NOW_US, **fields} for user in users]
    answer = recall.post(PREDICT, json={"instances": instances}, headers=headers)
    predictions: list[dict[str, Any]] = answer.raise_for_status().json()["predictions"]
    return predictions


def follow(reached: Callable[[], object]) -> None:
    """Wait until the service has got there."""
    deadline = time.monotonic() + 90
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_says_what_it_lacks(tmp_path: Path) -> None:
    environment = {"PAGODA_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "serving.recall"], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "ConfigError: recall: set redis.url, tower.url, milvus.uri" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_click_changes_the_same_users_next_answer_and_nobody_elses(
    installation: Installation, recall: httpx.Client
) -> None:
    users = [installation.world.user(number) for number in (21, 22)]

    def answers() -> list[dict[str, Any]]:
        body = {"instances": [{"user_id": user, "k": ITEMS, "exclude_seen": True} for user in users]}
        predictions: list[dict[str, Any]] = recall.post(PREDICT, json=body).raise_for_status().json()["predictions"]
        return predictions

    before = answers()
    clicked = before[0]["items"][0]["item_id"]
    event = {"user_id": users[0], "item_id": clicked, "event": "click"}
    assert recall.post("/v1/events", json=event).raise_for_status().json()["taken"] == 1
    after = answers()
    assert clicked not in [item["item_id"] for item in after[0]["items"]]
    scores = [{item["item_id"]: item["score"] for item in one[0]["items"]} for one in (before, after)]
    assert any(abs(scores[0][item] - score) > 1e-3 for item, score in scores[1].items())
    assert [item["item_id"] for item in after[1]["items"]] == [item["item_id"] for item in before[1]["items"]]
