"""Whether what is behind an address holds a generation: asked over HTTP, as on a cluster and on one machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pagoda.rollout.backends.local.memory import unloaded_collection
from pagoda.rollout.backends.local.probe import GenerationProbe
from pagoda.settings import CollectionConfig
from tests.rollout.local import Machine
from tests.rollout.worlds import Stage


class Pods(ThreadingHTTPServer):
    """Pods behind one address; each connection meets the next one."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Pod)
        self.statuses, self.connections = [200], 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Pod(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Pods) and self.path == "/predictions/pagoda/2.0"
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(server.statuses[server.connections % len(server.statuses)])
        server.connections += 1
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pods() -> Iterator[Pods]:
    with Pods() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_pod_that_is_asked_must_hold_it(pods: Pods, tmp_path: Path) -> None:
    stage = Stage()
    machine, candidate = Machine(tmp_path, stage.log), stage.log.state().generation("g2")
    probe = GenerationProbe(machine.shelf, 5.0, times=4)
    assert probe(candidate, "") == []  # The tower runs in recall: nobody to ask.
    assert probe(candidate, pods.address) == [] and pods.connections == 4
    pods.statuses = [200, 200, 409]
    assert "answers 409" in probe(candidate, pods.address)[0]
    pods.statuses = [500]
    assert "answers 500" in probe(candidate, pods.address)[0]
    machine.shelf.memory.discard("recall_v2")
    assert probe(candidate, pods.address)[1] == "collection recall_v2 is not loaded"


def test_a_collection_that_is_not_loaded_is_said_with_the_memory_that_it_takes(tmp_path: Path) -> None:
    stage = Stage()
    shelf = Machine(tmp_path, stage.log).shelf
    candidate = stage.log.state().generation("g2").model_copy(update={"dim": 64, "item_count": 1_000_000})
    assert unloaded_collection(shelf, candidate, CollectionConfig()) == []
    shelf.memory.clear()
    sentence = "collection recall_v2 is not loaded; loading it takes about {} MiB of Milvus memory"
    assert unloaded_collection(shelf, candidate, CollectionConfig()) == [sentence.format(486)]
    assert unloaded_collection(shelf, candidate, CollectionConfig(m=64)) == [sentence.format(962)]
    assert unloaded_collection(shelf, candidate, CollectionConfig(kind="FLAT")) == [sentence.format(327)]
    shelf.disk.clear()
    assert unloaded_collection(shelf, candidate, CollectionConfig()) == ["collection recall_v2 is not there"]


def test_nobody_at_the_address(tmp_path: Path) -> None:
    stage = Stage()
    missing = GenerationProbe(Machine(tmp_path, stage.log).shelf, 0.5)(
        stage.log.state().generation("g2"), "http://127.0.0.1:1"
    )
    assert len(missing) == 1 and "127.0.0.1:1" in missing[0]
