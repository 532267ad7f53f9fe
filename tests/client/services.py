"""A service that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pagoda.client.explanation import ChannelExplained, Explanation

HANG_UP = 0
"""In place of a status: the connection ends without an answer."""
Answer = tuple[int, Any]


@dataclass
class Service:
    """Answers by `path`: what is in `answers` first, one after the other, then what fits the request."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    """Path, body and headers of each request."""
    connections: int = 0

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        """The next one."""
        if self.answers:
            return self.answers.pop(0)
        match path:
            case "/v1/events":
                ids = [one["event_id"] for one in body["events"]]
                return 200, {"event_ids": ids, "taken": len(ids), "duplicates": 0}
            case "/v1/users/5/interests":
                return 200, {"interests": body["interests"], "stored": True}
            case "/v1/items":
                return 200, {"record": 4, "changes": len(body["upsert"]) + len(body["remove"])}
            case "/v1/models/recall:similar":
                return 200, {"predictions": [{**prediction(one["k"]), "unknown": [7]} for one in body["instances"]]}
        return 200, {"predictions": [prediction(one.get("k", 2)) for one in body["instances"]]}


def prediction(count: int) -> dict[str, Any]:
    """An answer with items 0, 1, …"""
    items = [{"item_id": number, "score": 1 - number / 10, "title": f"Item {number}"} for number in range(count)]
    return {"items": items, "generation": "g3", "arm": "stable", "known_user": True, "degraded": [], "timing_ms": {}}


def _channel(name: str, **said: Any) -> ChannelExplained:
    made: dict[str, Any] = {
        "channel": name,
        "outcome": "answered",
        "error": None,
        "deadline_ms": None,
        "share": 0.25,
        "quota": 250.0,
        "found": 1000,
        "given": 1000,
        "credited": 1000,
    }
    return ChannelExplained(**(made | said))  # type: ignore[typeddict-item]


EXPLANATION: Explanation = {
    "arm": {"arm": "stable", "generation": "g3", "why": "share", "canary": "g4", "canary_percent": 10.0},
    "user": {
        "store": "read",
        "id_row": {"source": "incremental", "versions": [9, 8]},
        "vector": "kept",
        "profile": {"age": 60.0, "city": "a\x1b[31m name [red] that goes on " * 6},
        "profile_of_request": ["age"],
        "interests": ["Drama", "Comedy"],
        "history": {"source": "store", "events": 14, "newest_age_seconds": 3 * 86_400},
    },
    "excluded": 12,
    "filter": {"kept": 505, "total": 1682, "exact": False},
    "removed": 3,
    "candidates": 1000,
    "channels": [
        _channel("two_tower", outcome="late", error="index recall_v1_0b28: no answer within 0.05 s", deadline_ms=50.0),
        _channel("second_generation", outcome="not_open", share=None, quota=None),
    ],
    "prerank": {"outcome": "late", "scored": 0, "error": "no answer in time"},
    "breakers": {"store": "closed", "index recall_v1_0b28": "open"},
}


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[Service]:
    """A running service; with a certificate's folder, over TLS."""
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def setup(self) -> None:
            state.connections += 1
            super().setup()

        def do_GET(self) -> None:
            self._send(*(state.answers.pop(0) if state.answers else (200, {"ready": True})))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.asked.append((self.path, body, dict(self.headers.items())))
            self._send(*state.answer(self.path, body))

        def do_PUT(self) -> None:
            self.do_POST()

        def _send(self, status: int, content: Any) -> None:
            if status == HANG_UP:
                self.close_connection = True
                return
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
            server.socket = context.wrap_socket(server.socket, server_side=True)
            state.url = f"https://localhost:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield state
        server.shutdown()
        thread.join()
