"""One trace through recall and tower, and log lines that name it; nothing at all where it is off."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving import tracing
from serving.http.client_complaints import Complaints
from serving.logs import JsonLines, about
from serving.recall import app as recall_app
from serving.recall.fallback.fallback import Fallback
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.recall.servers.tower import TowerClient
from serving.tower import handler
from serving.tower.replies import Replies
from serving.tower.runtime import TowerRuntime
from tests.serving.recall.setting import Setting

from .callers import HEADERS, tokens

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Tracing is on; what has ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


async def ask(headers: dict[str, str]) -> httpx.Response:
    """One request to a service over stand-ins."""
    setting = Setting()
    await setting.generations.refresh()
    parts = replace(setting.guarded(), fallback=Fallback())
    recall = Recall(parts, setting.generations, setting.ledger, canary_seconds=5)
    transport = httpx.ASGITransport(RecallServer(recall, setting.generations, tokens()).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
        return await client.post("/v1/models/recall:predict", json={"instances": [{"user_id": 5}]}, headers=headers)


async def test_the_callers_trace_goes_through_every_stage(spans: InMemorySpanExporter) -> None:
    assert (await ask(PARENT)).status_code == 200
    found = {span.name: span for span in spans.get_finished_spans()}
    assert found.keys() == {"recall", "store", "tower", "index"}
    assert {f"{span.context.trace_id:032x}" for span in found.values() if span.context} == {TRACE}


async def test_the_tower_is_told_the_trace_and_goes_on_with_it(
    spans: InMemorySpanExporter, runtime: TowerRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        carried.append(request.headers.get("traceparent"))
        return web.json_response({"predictions": []})

    app = web.Application()
    app.router.add_post("/predictions/pagoda/3.0", answer)
    async with TestServer(app) as server:
        client = TowerClient(str(server.make_url("/")), timeout_seconds=5)
        with tracing.span("recall", PARENT):
            await client.vectors(3, "g3", [])
        await client.close()
    assert carried[0] is not None
    assert TRACE in carried[0]
    monkeypatch.setattr(handler, "_replies", Replies(runtime, "3.0"))
    context = SimpleNamespace(
        # As Knative's proxy sends it.
        get_all_request_header=lambda place: [{"Traceparent": carried[0]}, {"Content-Type": "application/json"}][place],
        set_response_content_type=lambda *_: None,
        set_response_status=lambda **_: None,
    )
    spans.clear()
    handler.handle([{"body": b'{"user_id": 1}'}, {"body": b'{"user_id": 2}'}], context)
    (computed,) = spans.get_finished_spans()
    assert (computed.name, f"{computed.context.trace_id:032x}") == ("tower.compute", TRACE)


async def test_off_means_nothing_is_made_or_sent() -> None:
    assert (await ask(PARENT)).status_code == 200
    assert tracing.headers() == {}
    assert tracing.trace_id() == ""
    assert tracing.span("a") is tracing.span("b")


def test_a_log_line_names_trace_arm_and_generation(spans: InMemorySpanExporter) -> None:
    def line(**extra: Any) -> dict[str, Any]:
        record = logging.LogRecord("recall", logging.WARNING, "", 1, "tower %d is gone", (3,), None)
        found: dict[str, Any] = json.loads(JsonLines().format(record))
        return found | extra

    with tracing.span("recall", PARENT), about(arm="canary", generation="g4"):
        inside = line()
    assert (inside["message"], inside["level"]) == ("tower 3 is gone", "WARNING")
    assert (inside["trace_id"], inside["arm"], inside["generation"]) == (TRACE, "canary", "g4")
    assert {"trace_id", "arm"}.isdisjoint(line())


async def test_a_failures_log_line_names_the_trace(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a client is told again within a minute is no line, and another test may have been told it.
    monkeypatch.setattr(recall_app, "_complaints", Complaints(recall_app.logger))
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("serving.recall.app")
    logger.addHandler(handler)
    try:
        setting = Setting()  # Nothing has been warmed up.
        transport = httpx.ASGITransport(RecallServer(setting.recall, setting.generations, tokens()).app)
        async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
            body = {"instances": [{"user_id": 5}]}
            answer = await client.post("/v1/models/recall:predict", json=body, headers=PARENT)
    finally:
        logger.removeHandler(handler)
    assert answer.status_code == 503
    assert json.loads(stream.getvalue())["trace_id"] == TRACE
