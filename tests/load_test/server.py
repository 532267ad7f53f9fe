"""A recall service that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]


@contextmanager
def service(answer: Answer) -> Iterator[str]:
    """The URL of a server that calls `answer` with the one instance of each request."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # Head and body in one packet: the second one would wait 40 ms for the first one's receipt.

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, content = answer(body["instances"][0])
            sent = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def prediction(**fields: Any) -> dict[str, Any]:
    """An answer with no items."""
    return {"predictions": [{"items": [], "arm": "stable", **fields}]}


class Pause:
    """Answers at once but for one pause, in which nobody is answered."""

    def __init__(self, at: float, seconds: float) -> None:
        self._begin, self._at, self._seconds = None, at, seconds

    def __call__(self, _: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        now = time.monotonic()
        if self._begin is None:
            self._begin = now
        start = self._begin + self._at
        if start <= now < start + self._seconds:
            time.sleep(start + self._seconds - now)
        return 200, prediction()
