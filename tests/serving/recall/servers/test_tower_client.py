"""What recall makes of a tower that does not answer as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pagoda.errors import IntegrityError, NotHeldError, RequestError, UnavailableError
from serving.http.fields import PastItems
from serving.recall.servers.tower import TowerClient
from tests.serving.torchserve import free_port

ASKED = [{"user_id": 5}]
ROW = {"vector": [0.6, 0.8], "generation": "g3", "known": True}


@asynccontextmanager
async def tower(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[TowerClient]:
    """A client of a server that answers by `handler`."""
    application = web.Application()
    application.router.add_post("/predictions/pagoda/3.0", handler)
    async with TestServer(application) as server:
        client = TowerClient(str(server.make_url("/")), timeout_seconds=0.5)
        try:
            yield client
        finally:
            await client.close()


def answering(status: int, content: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(content, status=status)

    return answer


async def test_vectors_come_back_in_order() -> None:
    async def answer(request: web.Request) -> web.Response:
        history = [{"item_id": 7, "timestamp": 5}]
        assert await request.json() == {"generation": "g3", "instances": [{**ASKED[0], "history": history}]}
        return web.json_response({"predictions": [ROW]})

    async with tower(answer) as client:
        (user,) = await client.vectors(3, "g3", [{**ASKED[0], "history": PastItems((7,), (5,))}])
    assert (user.vectors, user.known) == (([0.6, 0.8],), True)


async def test_a_tower_of_several_interests_gives_a_vector_for_each() -> None:
    several = {"vectors": [[0.6, 0.8], [1.0, 0.0]], "generation": "g3", "known": True}
    async with tower(answering(200, {"predictions": [several]})) as client:
        (user,) = await client.vectors(3, "g3", ASKED)
    assert user.vectors == ([0.6, 0.8], [1.0, 0.0])


@pytest.mark.parametrize(
    ("status", "content", "kind", "message"),
    [
        (409, {"error": "generation g3 is not held"}, NotHeldError, "g3 is not held"),
        (404, {"code": 404, "message": "Model version not found"}, NotHeldError, "not found"),
        (400, {"error": "feature 'age': got 'x'"}, RequestError, "feature 'age'"),
        (503, {"code": 503, "message": "no worker"}, UnavailableError, "answered 503: no worker"),
        (500, ["odd"], UnavailableError, "answered 500"),
        (200, {"predictions": [{**ROW, "generation": "g2"}]}, IntegrityError, "asked for g3, answered g2"),
        (200, {"predictions": [{"vector": []}]}, IntegrityError, "unreadable"),
        (200, {}, IntegrityError, "unreadable"),
        (200, {"predictions": [ROW, ROW]}, IntegrityError, "2 vectors for 1 users"),
    ],
)
async def test_each_answer_is_understood(status: int, content: Any, kind: type[Exception], message: str) -> None:
    async with tower(answering(status, content)) as client:
        with pytest.raises(kind, match=message):
            await client.vectors(3, "g3", ASKED)


async def test_a_slow_or_absent_tower_is_unavailable() -> None:
    async def sleep(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with tower(sleep) as client:
        with pytest.raises(UnavailableError, match="TimeoutError"):
            await client.vectors(3, "g3", ASKED)
    gone = TowerClient(f"http://127.0.0.1:{free_port()}", timeout_seconds=0.5)
    with pytest.raises(UnavailableError, match="user tower at"):
        await gone.vectors(3, "g3", ASKED)
    await gone.close()


async def test_what_cannot_be_passed_on_is_refused() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    async with tower(answering(200, {})) as client:
        with pytest.raises(RequestError, match="cannot be passed on"):
            await client.vectors(3, "g3", [{"user_id": 5, "profile": {"age": deep}}])


async def test_the_version_is_found_behind_whichever_tag_has_it() -> None:
    """Knative: during a rollout the stable version moves from `latest` to `prev`, and back after a rollback."""
    asked: list[str] = []
    place = ["prev"]

    async def answer(request: web.Request) -> web.Response:
        tag = request.path.split("/")[1]
        asked.append(tag)
        if tag != place[0]:
            return web.json_response({"code": 404, "message": "Model version not found"}, status=404)
        return web.json_response({"predictions": [ROW]})

    application = web.Application()
    application.router.add_post("/{tag}/predictions/pagoda/3.0", answer)
    async with TestServer(application) as server:
        client = TowerClient(str(server.make_url("/")) + "{revision}", timeout_seconds=5)
        for tag in ("prev", "prev", "latest", "latest"):
            place[0] = tag
            (user,) = await client.vectors(3, "g3", ASKED)
            assert user.known
        place[0] = "nowhere"
        with pytest.raises(NotHeldError):
            await client.vectors(3, "g3", ASKED)
        await client.close()
    assert asked[:-2] == ["latest", "prev", "prev", "prev", "latest", "latest"]
