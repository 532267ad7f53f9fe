"""The simulated world at a recall service: who asks, what is clicked, what is counted."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import ConfigError
from pagoda.simulation import World, make_config
from pagoda.simulation.config import write_config
from pagoda.simulation.traffic import Played, Script, play

WORLD = make_config({"users": 50, "items": 40, "days": 2, "events": 1000, "drift": "none"})
SCRIPT = Script(rate=150, seconds=1, shown=5, k=10, connections=8)


class Recall(ThreadingHTTPServer):
    """Answers each user by the best items or the worst, and keeps what it is told."""

    def __init__(self, world: World) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.world, self.best, self.down, self.events = world, True, False, list[dict[str, Any]]()
        self.receipts = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, instance: dict[str, Any]) -> dict[str, Any]:
        top = self.world.true_top(np.array([instance["user_id"]]), instance["timestamp"], 40)[0]
        items = top[: instance["k"]] if self.best else top[::-1][: instance["k"]]
        listed = [{"item_id": int(item), "score": 0.5} for item in items]
        given = {"receipt": f"of-{instance['user_id']}"} if self.receipts else {}
        return {**given, "items": listed, "arm": "canary" if instance["user_id"] % 2 else "stable", "generation": "g1"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Recall)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "events" in body:
            server.events += body["events"]
        content = (
            b"{}" if "events" in body else json.dumps({"predictions": [server.answer(body["instances"][0])]}).encode()
        )
        self.send_response(503 if server.down else 200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def recall() -> Iterator[Recall]:
    with Recall(World(WORLD)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def rate(played: Played) -> float:
    return sum(bool(one.clicks) for one in played.answers) / len(played.answers)


def test_users_click_what_they_truly_prefer(recall: Recall) -> None:
    good = play(recall.world, recall.url, SCRIPT)
    assert good.failed == 0 and len(good.answers) > 80
    assert {event["event"] for event in recall.events} == {"click"}
    assert len(recall.events) == good.summary()["clicks"] and good.lost_events == 0
    assert set(good.summary()["arms"]) == {"stable", "canary"}
    recall.best = False
    assert rate(play(recall.world, recall.url, SCRIPT)) < rate(good) / 3


def test_the_same_seed_gives_the_same_clicks(recall: Recall) -> None:
    first, again = (play(recall.world, recall.url, SCRIPT) for _ in range(2))
    assert sorted((one.user, one.clicks) for one in first.answers) == sorted(
        (one.user, one.clicks) for one in again.answers
    )


def test_what_is_shown_can_be_logged_too(recall: Recall) -> None:
    played = play(recall.world, recall.url, Script(rate=50, seconds=1, shown=5, impressions=True))
    assert sum(event["event"] == "impression" for event in recall.events) == 5 * len(played.answers)


def test_receipts_are_handed_back_with_what_was_shown_and_clicked(recall: Recall) -> None:
    recall.receipts = True
    play(recall.world, recall.url, Script(rate=50, seconds=1, shown=5, impressions=True))
    assert {event["event"] for event in recall.events} == {"impression", "click"}
    assert all(event["receipt"] == f"of-{event['user_id']}" for event in recall.events)


def test_a_service_that_fails_is_counted(recall: Recall) -> None:
    recall.down = True
    played = play(recall.world, recall.url, Script(rate=50, seconds=1))
    assert played.failed == len(played.answers) > 0 and set(played.summary()["failures"]) == {"503"}


def test_the_verb(recall: Recall, tmp_path: Path) -> None:
    write_config(WORLD, tmp_path)
    words = ["simulate", "traffic", str(tmp_path), recall.url, "--rate", "50", "--seconds", "1"]
    result = CliRunner().invoke(app, [*words, "--output", "json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["failed"] == 0
    assert "click rate" in CliRunner().invoke(app, words).output
    nowhere = CliRunner().invoke(app, [*words[:3], "nowhere"])
    assert isinstance(nowhere.exception, ConfigError)


def test_a_world_is_still_made_by_the_short_form(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["simulate", str(tmp_path / "w"), "--users", "20", "--days", "1", "--events", "500"]
    )
    assert result.exit_code == 0 and (tmp_path / "w" / "world.yaml").exists()
