"""What hosts say that they hold, over the followers' own port."""

from __future__ import annotations

import socket

from pagoda.generations.holding import HOLDING_PATH, Holding
from pagoda.generations.hosts import holdings
from pagoda.telemetry.endpoint import serve_metrics


def test_every_host_is_asked_that_a_name_stands_for_and_who_does_not_answer_is_left_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url, said = f"http://localhost:{port}", Holding(head=7, current="g1", held=("g1", "g2"))
    assert holdings(url) == holdings("http://nowhere.invalid:9102") == []
    serve_metrics(port, {HOLDING_PATH: lambda: said.model_dump_json().encode()})
    assert holdings(url)[0] == said
