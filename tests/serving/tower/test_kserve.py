"""The user tower on KServe's model server: its own doors, what it loads, when it is ready, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from starlette.requests import Request

from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.errors import ConfigError, NotHeldError, RequestError, UnavailableError
from pagoda.storage.checksums import SHA256, checksum_file
from serving.http.body_reading import TooLargeError
from serving.tower.archive import package
from serving.tower.archive_trust import write_checksums
from serving.tower.kserve.batches import Asked, Batches
from serving.tower.kserve.held_bodies import MOST_BODY_BYTES, HeldBodies
from serving.tower.kserve.server import listener_at
from serving.tower.kserve.versions import LoadedVersions
from serving.tower.runtime import TowerRuntime
from serving.tower.torchserve_process import socket_url
from tests.certificates import write_certificate
from tests.neighbour import as_nobody
from tests.serving.torchserve import RunningTower, free_port, kserve_tower
from tests.serving.worlds import World, make_world

ONE = {"instances": [{"user_id": 1}]}
TENSORS = {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1], "data": [1]}]}


@pytest.fixture
def client(kserve: RunningTower) -> Iterator[httpx.Client]:
    """Of the running server."""
    with kserve.client as found:
        yield found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/models/pagoda:predict", ONE),
        ("/v2/models/pagoda/infer", TENSORS),
        ("/v2/models/pagoda/versions/3/infer", TENSORS),
        ("/predictions/pagoda", ONE),
        ("/predictions/pagoda/3.0", ONE),
    ],
)
def test_both_protocols_are_answered_at_their_own_addresses(client: httpx.Client, path: str, body: object) -> None:
    answer = client.post(path, json=body).raise_for_status().json()
    assert (answer.get("generation") or answer["parameters"]["generation"]) == "g3"
    assert answer.get("model_version", "3.0") == "3.0"


@pytest.mark.integration
def test_a_generation_is_found_without_its_version_and_one_that_is_not_held_is_a_409(client: httpx.Client) -> None:
    assert client.post("/v1/models/pagoda:predict", json={**ONE, "generation": "g3.5"}).json()["generation"] == "g3.5"
    for path in ("/v1/models/pagoda:predict", "/predictions/pagoda/3.0"):
        assert client.post(path, json={**ONE, "generation": "g9"}).status_code == 409
        assert client.post(path, json={**ONE, "generation": "../g3"}).status_code == 400
    assert client.post("/v2/models/pagoda/versions/9/infer", json=TENSORS).status_code == 404


@pytest.mark.integration
def test_it_says_what_it_holds_and_counts_what_it_is_asked(client: httpx.Client) -> None:
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/pagoda/ready").json()["ready"]
    assert "3" in client.get("/v2/models/pagoda").json()["versions"]
    client.post("/v1/models/pagoda:predict", content=b"{")
    counted = client.get("/metrics").text
    assert 'pagoda_tower_requests_total{status="400"}' in counted and "pagoda_tower_versions" in counted


@pytest.mark.integration
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_no_request_loads_or_unloads_anything(client: httpx.Client, verb: str) -> None:
    for name in ("pagoda", "pagoda-4"):
        assert client.post(f"/v2/repository/models/{name}/{verb}").status_code == 404
    assert client.get("/v2/models").json() == {"models": ["pagoda"]}


@pytest.mark.integration
def test_another_user_does_not_reach_its_socket(kserve: RunningTower) -> None:
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    assert "PermissionError" in as_nobody(connect, socket_url(kserve.home, "inference").removeprefix("unix:")).stderr


def test_a_socket_that_others_would_reach_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="this user's alone"):
        listener_at(f"unix:{tmp_path / 'tower.sock'}")


@pytest.mark.integration
def test_with_a_certificate_it_speaks_tls_and_what_is_under_way_when_it_stops_is_finished(
    served_by_kserve: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, port = write_certificate(tmp_path / "certificate", elliptic=True), free_port()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    monkeypatch.setenv("PAGODA_TOWER__TABLES", str(served_by_kserve.tables))
    options = ("--certificate", str(authority.parent), "--store", str(served_by_kserve.tables.parent / "archives"))
    statuses: list[int] = []
    with kserve_tower(tmp_path, *options, url=f"https://localhost:{port}") as running, running.client as client:
        while client.get("/v2/health/ready").status_code != 200:
            pass
        threading.Timer(0.2, running.process.send_signal, (signal.SIGTERM,)).start()
        while True:
            answer = client.post("/v1/models/pagoda:predict", json=ONE)
            statuses.append(answer.status_code)
            if answer.headers.get("connection") == "close":
                break
        assert client.get("/v2/health/ready").status_code == 503
        assert running.process.wait(10) == 0
    assert set(statuses) == {200}


async def test_bodies_are_held_up_to_a_limit_until_they_are_answered() -> None:
    def request(*parts: bytes) -> Request:
        messages = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts])

        async def receive() -> dict[str, Any]:
            return next(messages, {"type": "http.request", "body": b"", "more_body": False})

        return Request({"type": "http"}, receive)

    bodies = HeldBodies(10)
    async with bodies.read(request(b"abc", b"def")) as first:
        assert first == b"abcdef"
        async with bodies.read(request(b"1234")) as second:
            assert second == b"1234"
        with pytest.raises(UnavailableError, match="wait already"):
            async with bodies.read(request(b"12", b"345")):
                pass
    async with bodies.read(request(b"0123456789")) as third:
        assert len(third) == 10
    with pytest.raises(TooLargeError):
        async with HeldBodies().read(request(bytes(MOST_BODY_BYTES + 1))):
            pass


async def test_who_stops_half_way_keeps_no_room() -> None:
    sent = iter([{"type": "http.request", "body": b"012345678", "more_body": True}])

    async def stalled() -> dict[str, Any]:
        return next(sent, None) or await asyncio.Event().wait()  # type: ignore[return-value]

    async def short() -> dict[str, Any]:
        return {"type": "http.request", "body": b"ab", "more_body": False}

    bodies = HeldBodies(10, seconds=0.01)
    with pytest.raises(RequestError, match=r"body: 9 bytes of it came within 0\.01 s"):
        async with bodies.read(Request({"type": "http"}, stalled)):
            pass
    async with bodies.read(Request({"type": "http"}, short)) as body:
        assert body == b"ab"


async def test_a_body_that_came_in_parts_is_in_memory_once() -> None:
    left = 8

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytes(1 << 20), "more_body": left > 0}

    tracemalloc.start()
    try:
        async with HeldBodies().read(Request({"type": "http"}, receive)) as body:
            assert len(body) == 8 << 20
            assert tracemalloc.get_traced_memory()[0] < 10 << 20
    finally:
        tracemalloc.stop()


async def test_a_request_that_breaks_the_tower_breaks_no_other(caplog: pytest.LogCaptureFixture) -> None:
    class Versions:
        def of_generation(self, generation: str | None) -> int:
            if generation == "bad":
                raise ZeroDivisionError
            raise NotHeldError("not held")

    def asked(generation: str) -> Asked:
        return Asked(orjson.dumps({**ONE, "generation": generation}))

    batches = Batches(Versions(), 16)  # type: ignore[arg-type]
    found = await asyncio.gather(*(batches.answer(asked(one)) for one in ("good", "bad", "good")))
    assert [status for status, _ in found] == [409, 500, 409]


class TestAPod:
    """What a host loads of its store, by itself."""

    @pytest.fixture
    def pod(self, tmp_path: Path) -> World:
        """Version 4, its tables installed beside those of 3, whose generation serves."""
        make_world(tmp_path / "three", tmp_path / "tables")
        world = make_world(tmp_path / "four", tmp_path / "tables", version=4)
        TablesWriter(world.tables).set_current("g3")
        (tmp_path / "store").mkdir()
        return world

    def test_it_is_ready_for_its_own_version_once_a_manifest_names_it(self, pod: World, tmp_path: Path) -> None:
        versions = LoadedVersions(tmp_path / "store", pod.tables)
        assert "no model archive" in str(versions.why_not_ready())
        archive = package(pod.folder, 4, tmp_path / "store")
        versions.step()
        assert versions.held() == []
        write_checksums(pod.tables, {4: checksum_file(archive, SHA256)})
        versions.step()
        assert (versions.held(), versions.why_not_ready()) == ([4], None)
        TablesWriter(pod.tables).retire("g4")
        assert "no generation of version 4" in str(versions.why_not_ready())

    def test_an_archive_that_is_not_what_its_manifest_says_is_not_loaded_and_spoils_no_other(
        self, pod: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = tmp_path / "store"
        good, wrong = package(pod.folder, 4, store), package(pod.folder, 3, store)
        write_checksums(pod.tables, {4: checksum_file(good, SHA256), 3: f"{SHA256}{'0' * 64}"})
        versions = LoadedVersions(store, pod.tables)
        versions.step()
        versions.step()
        assert versions.held() == [4]
        assert "g3: full version 3 is not held" in str(versions.why_not_ready()), "the current one's archive is here"
        assert len([one for one in caplog.records if str(wrong) in one.message]) == 1, "said once"
        # What serves goes on when its archive is spoilt, and the good one counts when it is there.
        good.write_bytes(b"spoilt")
        write_checksums(pod.tables, {4: checksum_file(wrong, SHA256), 3: checksum_file(wrong, SHA256)})
        versions.step()
        assert versions.held() == [3, 4]
        wrong.unlink()
        versions.step()
        assert versions.held() == [4]

    @pytest.mark.parametrize("trouble", [RuntimeError("a program of another torch"), OSError(28, "no space left")])
    def test_one_that_cannot_be_loaded_keeps_no_other_from_it(
        self,
        trouble: Exception,
        pod: World,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        archives = {version: package(pod.folder, version, tmp_path / "store") for version in (3, 4)}
        write_checksums(pod.tables, {version: checksum_file(one, SHA256) for version, one in archives.items()})
        load = TowerRuntime.load

        def fail(folder: Path, tables: TowerTables) -> TowerRuntime:
            if tables._full_version == 3:
                raise trouble
            return load(folder, tables)

        monkeypatch.setattr(TowerRuntime, "load", fail)
        versions = LoadedVersions(tmp_path / "store", pod.tables)
        versions.step()
        versions.step()
        assert versions.held() == [4]
        assert len([one for one in caplog.records if str(archives[3]) in one.message]) == 1, "said once"
