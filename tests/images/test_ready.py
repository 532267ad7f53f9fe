"""The tower pod's readiness: its own version's generation, answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from serving.tower.ready import missing


class Tower:
    """A server that gives one status to everything, and notes what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.asked: list[tuple[str, str]] = []
        self.url = ""


@pytest.fixture
def tower() -> Iterator[Tower]:
    """The server of a pod."""
    state = Tower()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.path, body["generation"]))
            self.send_response(state.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """A pod of version 4 that holds generations of two versions."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pagoda-4.mar").touch()
    (tmp_path / "tables" / "generations").mkdir(parents=True)
    for name in ("g3", "g3.9", "g4", "g4.2", "g4.10", "g40"):
        (tmp_path / "tables" / "generations" / f"{name}.json").touch()
    return tmp_path


def test_asks_for_the_newest_generation_of_the_pods_own_version(tower: Tower, pod: Path) -> None:
    assert missing(tower.url, pod / "models", pod / "tables") is None
    assert tower.asked == [("/predictions/pagoda/4.0", "g4.10")]


@pytest.mark.parametrize(("status", "ready"), [(200, True), (400, True), (404, False), (409, False), (503, False)])
def test_is_ready_when_the_tower_knows_the_generation(tower: Tower, pod: Path, status: int, ready: bool) -> None:
    tower.status = status
    assert (missing(tower.url, pod / "models", pod / "tables") is None) == ready


def test_says_what_is_missing(tower: Tower, pod: Path) -> None:
    for path in (pod / "tables" / "generations").glob("g4*"):
        path.unlink()
    assert "no generation of version 4" in str(missing(tower.url, pod / "models", pod / "tables"))
    (pod / "models" / "pagoda-4.mar").unlink()
    assert "no model archive" in str(missing(tower.url, pod / "models", pod / "tables"))


def test_is_not_ready_when_nothing_listens(tower: Tower, pod: Path) -> None:
    assert "http://127.0.0.1:9" in str(missing("http://127.0.0.1:9", pod / "models", pod / "tables"))
