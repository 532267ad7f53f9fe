"""What the OpenAPI page allows, what it does not, and raw bytes: answered or refused, never an error of the server."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Sequence

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from pagoda.data.spec import FeatureSpec
from serving.events.intake import EventIntake
from serving.events.redis_stream import RedisStream
from serving.events.routes import PATH, events_router
from serving.events.rules import Accepted
from serving.recall.channels.tables import TableChannels
from serving.recall.items.item_values import ItemValues
from serving.recall.server import RecallServer
from serving.recall.similar import routes as similar_routes
from serving.recall.similar.service import SimilarService
from tests.serving.callers import HEADERS, tokens
from tests.serving.worlds import make_spec

from .setting import Setting

PATHS = ("/v1/models/recall:predict", "/v2/models/recall/infer", similar_routes.PATH, PATH)
REQUESTS = 100_000
GROWTH_BYTES = 24 << 20
SEEDS = (
    b'{"instances": [{"user_id": 5, "k": 3, "filter": {"year": {"gte": 1990}}}]}',
    b'{"instances": [{"user_id": 5, "history": [{"item_id": 1, "timestamp": 2}], "popularity_penalty": null}]}',
    b'{"instances": [{"item_ids": [5, 12], "by": "vector", "k": 3, "filter": {"year": [1990]}, "user_id": 5}]}',
    b'{"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1], "data": [5]}]}',
    b'{"events": [{"event_id": "a", "user_id": 5, "item_id": 7, "event": "click", "context": {"device": "tv"}}]}',
)


class Specs:
    """The declaration of the tests."""

    async def spec(self) -> FeatureSpec:
        return SPEC


class Intake(EventIntake):
    """Checks events, and keeps none."""

    async def _append(self, accepted: Sequence[Accepted]) -> int:
        return len(accepted)


SPEC = make_spec()


def application() -> RecallServer:
    """A ready service over stand-ins."""
    setting = Setting(SPEC)
    asyncio.run(setting.generations.refresh())
    intake = Intake(RedisStream("redis://127.0.0.1:9", length=1), Specs())
    setting.index.held = {5: [1.0, 0.0], 12: [0.0, 1.0]}
    similar = SimilarService(setting.generations, setting.index, TableChannels(), ItemValues({}))
    routers = [similar_routes.similar_router(similar), events_router(intake)]
    return RecallServer(setting.recall, setting.generations, tokens(), routers)


@pytest.mark.long
def test_what_the_page_describes_is_answered_as_it_says() -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", application().app)
    for operation in schema.include(method="POST").get_all_operations():

        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def answered(case: schemathesis.Case) -> None:
            checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
            case.call_and_validate(headers=HEADERS, checks=checks)

        answered()


def mutated(source: random.Random) -> bytes:
    """A body with some bytes changed, cut or doubled, or nothing like one."""
    if source.random() < 0.2:
        return source.randbytes(source.randrange(60))
    content = bytearray(source.choice(SEEDS))
    for _ in range(source.randrange(1, 6)):
        place = source.randrange(len(content) + 1)
        match source.randrange(4):
            case 0:
                content[place:place] = source.choice(
                    (b"[", b"{", b'"', b"null", b"-1e999", b"\\u0000", b"\xff", b"9" * 30)
                )
            case 1:
                del content[place : place + source.randrange(1, 8)]
            case 2:
                content[place : place + 1] = source.randbytes(1)
            case _:
                content[place:place] = content[place : place + 20]
    return bytes(content)


async def fuzz(app: RecallServer, source: random.Random, requests: int) -> None:
    """Send mutated bodies one after the other."""
    transport = httpx.ASGITransport(app.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://recall", headers=HEADERS) as client:
        for _ in range(requests):
            body = mutated(source)
            answer = await client.post(source.choice(PATHS), content=body)
            assert answer.status_code in (200, 400, 413), (answer.status_code, body)


def test_mutated_bodies_are_answered_or_refused() -> None:
    asyncio.run(fuzz(application(), random.Random(1), 300))


@pytest.mark.long
def test_a_hundred_thousand_of_them_leave_no_trace_in_memory() -> None:
    app, source, process = application(), random.Random(2), psutil.Process()
    asyncio.run(fuzz(app, source, REQUESTS // 10))
    gc.collect()
    before = process.memory_info().rss
    asyncio.run(fuzz(app, source, REQUESTS))
    gc.collect()
    assert process.memory_info().rss - before < GROWTH_BYTES
