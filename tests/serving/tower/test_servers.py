"""The user tower on real servers, TorchServe and KServe's: batching, forms, statuses, two versions at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from pagoda.embeddings.tables import TablesWriter
from pagoda.sockets import client_of
from pagoda.storage.checksums import SHA256, checksum_file
from serving.tower.archive import archive_name, package
from serving.tower.archive_trust import read_checksums, write_checksums
from serving.tower.bodies import Instance
from serving.tower.runtime import TowerRuntime
from serving.tower.torchserve_process import socket_url
from serving.workers.tower_host import Models
from tests.serving.torchserve import RunningTower
from tests.serving.worlds import NOW_US, World, add_generation, make_world

pytestmark = pytest.mark.integration


SERVERS = {"torchserve": ("tower", "served"), "kserve": ("kserve", "served_by_kserve")}


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def both(request: pytest.FixtureRequest) -> tuple[RunningTower, World]:
    """Each server, and the version that it has."""
    running, world = request.param
    return request.getfixturevalue(running), request.getfixturevalue(world)


@pytest.fixture(scope="module")
def server(both: tuple[RunningTower, World]) -> RunningTower:
    """The server."""
    return both[0]


@pytest.fixture(scope="module")
def held(both: tuple[RunningTower, World]) -> World:
    """What it has."""
    return both[1]


@pytest.fixture(scope="module")
def fourth(server: RunningTower, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Full version 4, in the tables but not yet served."""
    return make_world(tmp_path_factory.mktemp("four") / "version", server.tables, version=4, seed=9)


JSON = {"Content-Type": "application/json"}


def ask(running: RunningTower, body: Any, version: int = 3) -> httpx.Response:
    """POST a body to one model version."""
    with running.client as client:
        return client.post(f"/predictions/pagoda/{version}.0", json=body)


def instances(count: int) -> list[dict[str, Any]]:
    """Users with a history each."""
    return [
        {
            "user_id": number,
            "timestamp": NOW_US,
            "profile": {"age": 20 + number, "gender": "F"},
            "history": [{"item_id": number + 1, "timestamp": NOW_US - 60_000_000}],
        }
        for number in range(count)
    ]


def in_process(world: World, rows: list[dict[str, Any]], generation: str) -> np.ndarray:
    """The same vectors without TorchServe."""
    runtime = TowerRuntime.load(world.folder, world.open_tables())
    return runtime.predict([Instance.model_validate(row) for row in rows], generation).vectors


@pytest.mark.parametrize("generation", ["g3", "g3.5"])
def test_all_forms_agree_with_the_tower_in_process(server: RunningTower, held: World, generation: str) -> None:
    rows = instances(3)
    vectors = in_process(held, rows, generation)
    v1 = ask(server, {"instances": rows, "generation": generation}).json()
    np.testing.assert_allclose([row["vector"] for row in v1["predictions"]], vectors, atol=1e-6)
    plain = ask(server, {**rows[1], "generation": generation}).json()
    np.testing.assert_allclose(plain["vector"], vectors[1], atol=1e-6)
    assert plain["generation"] == v1["generation"] == generation
    columns = [
        {"name": "user_id", "datatype": "INT64", "shape": [3], "data": [row["user_id"] for row in rows]},
        {"name": "timestamp", "datatype": "INT64", "shape": [3], "data": [NOW_US] * 3},
        {"name": "profile", "datatype": "BYTES", "shape": [3], "data": [dumps(row["profile"]) for row in rows]},
        {"name": "history", "datatype": "BYTES", "shape": [3], "data": [dumps(row["history"]) for row in rows]},
    ]
    v2 = ask(server, {"inputs": columns, "parameters": {"generation": generation}}).json()
    np.testing.assert_allclose(v2["outputs"][0]["data"], vectors.reshape(-1), atol=1e-6)
    assert v2["parameters"] == {"generation": generation}


def test_what_recall_joins_is_not_too_large(server: RunningTower, held: World) -> None:
    """32 requests of up to 1 MiB are one body; TorchServe's own limit is 6.5 MB."""
    rows = instances(2)
    body = dumps({"instances": rows, "generation": "g3"}).encode()
    with server.client as client:
        answer = client.post("/predictions/pagoda/3.0", content=body + b" " * (32 << 20), headers=JSON)
    assert (answer.status_code, len(answer.json()["predictions"])) == (200, 2)


def test_requests_of_one_batch_get_their_own_answers(server: RunningTower, held: World) -> None:
    rows = instances(40)
    stable, newer = (in_process(held, rows, generation) for generation in ("g3", "g3.5"))

    def one(number: int) -> httpx.Response:
        generation = ("g3", "g3.5", "g9")[number % 3]
        user = "wrong" if number % 7 == 6 else number
        return ask(server, {**rows[number], "user_id": user, "generation": generation})

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(40)))
    for number, answer in enumerate(answers):
        if number % 3 == 2:
            assert answer.status_code == 409
            assert "g9" in answer.json()["error"]
        elif number % 7 == 6:
            assert answer.status_code == 400
            assert answer.json()["error"].startswith("user_id: ")
        else:
            wanted = (stable, newer)[number % 3][number]
            assert answer.json()["generation"] == ("g3", "g3.5")[number % 3]
            np.testing.assert_allclose(answer.json()["vector"], wanted, atol=1e-6)


def test_a_second_version_comes_and_goes_beside_the_first(server: RunningTower, fourth: World, tmp_path: Path) -> None:
    archive = package(fourth.folder, 4, tmp_path)
    checksums = {**read_checksums(server.tables), 4: checksum_file(archive, SHA256)}
    write_checksums(server.tables, checksums)  # As the follower does before it brings one.
    with server.brought() as models:
        models.ensure(4, archive)
        models.ensure(4, archive)
        assert set(models.held()) >= {3, 4}
        body = {"instances": instances(2), "generation": "g4"}
        answer = ask(server, body, version=4).json()
        vectors = in_process(fourth, instances(2), "g4")
        np.testing.assert_allclose([row["vector"] for row in answer["predictions"]], vectors, atol=1e-6)
        assert ask(server, body, version=3).status_code == 409
        models.retire(4)
        models.retire(4)
        gone(models, 4)
        assert not (server.store / archive_name(4)).exists()
    assert ask(server, body, version=4).status_code == 404


@retry(stop=stop_after_delay(5), retry=retry_if_exception_type(AssertionError), wait=wait_fixed(0.05), reraise=True)
def gone(models: Models, version: int) -> None:
    """A version is let go of; KServe's server sees by itself that its archive has left."""
    assert version not in models.held()


def test_a_generation_published_meanwhile_is_served(server: RunningTower, held: World) -> None:
    body = {"user_id": 7, "timestamp": NOW_US, "generation": "g3.8"}
    assert ask(server, body).status_code == 409
    assert add_generation(held, 8, [7]) == "g3.8"
    assert ask(server, body).json()["generation"] == "g3.8"
    TablesWriter(held.tables).retire("g3.8")
    assert ask(server, body).status_code == 409


def test_a_killed_worker_is_replaced(tower: RunningTower, served: World) -> None:
    for worker in psutil.Process(tower.process.pid).children():
        worker.kill()
    row = instances(1)[0]
    answer = answered(tower, {**row, "generation": "g3"})
    np.testing.assert_allclose(answer.json()["vector"], in_process(served, [row], "g3")[0], atol=1e-6)


@retry(stop=stop_after_delay(90), retry=retry_if_exception_type(httpx.HTTPError), wait=wait_fixed(0.1), reraise=True)
def answered(running: RunningTower, body: Any) -> httpx.Response:
    """The first success: depending on when TorchServe notices, a request is refused, or waits for the new worker."""
    return ask(running, body).raise_for_status()


def test_it_counts_requests_and_logs_none(tower: RunningTower) -> None:
    before = tower.log.read_text()
    for _ in range(20):
        ask(tower, {"user_id": 1})
    with client_of(socket_url(tower.home, "metrics"), 5) as client:
        assert "ts_inference_requests_total" in client.get("/metrics").text
    with tower.models() as models:
        assert 3 in models.held()
    assert tower.log.read_text() == before


def dumps(value: Any) -> str:
    """JSON text, as BYTES inputs hold it."""
    import orjson

    return orjson.dumps(value).decode()
