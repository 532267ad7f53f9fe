"""Who gets in at the recall service, and what everybody else is told."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from pagoda.access.roles import ROLES
from pagoda.access.tokens import Tokens, bearer, make_tokens, token_of
from serving.events.intake import EventIntake
from serving.events.item_changes import ItemIntake, items_router
from serving.events.redis_stream import RedisStream
from serving.events.routes import events_router
from serving.http.door import TURNED_AWAY, Needs
from serving.recall.server import RecallServer
from tests.serving.recall.setting import Setting
from tests.serving.recall.test_any_request import Specs

PREDICT = "/v1/models/recall:predict"
REMOVE_ALL = '{"remove": [1, 2, 3]}'
JSON = {"Content-Type": "application/json"}


class NoItems:
    """An item log that must not be asked."""

    def append(self, changes: object) -> None:
        raise AssertionError(f"{changes} got in")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tokens(tmp_path / "tokens")
    return tmp_path / "tokens"


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    setting = Setting()
    await setting.generations.refresh()
    intake = EventIntake(RedisStream("redis://127.0.0.1:9", length=1), Specs())
    routers = [events_router(intake), items_router(ItemIntake(NoItems(), Specs()))]  # type: ignore[arg-type]
    server = RecallServer(setting.recall, setting.generations, Tokens(folder), routers, ["127.0.0.1", "localhost"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://127.0.0.1:80") as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", PREDICT, {"ask", "operate"}),
        ("POST", "/v2/models/recall/infer", {"ask", "operate"}),
        ("GET", "/v2/models/recall", {"ask"}),
        ("POST", "/v1/events", {"events"}),
        ("POST", "/v1/items", {"items"}),
        ("GET", "/metrics", {"watch"}),
    ],
)
async def test_a_route_opens_to_its_roles_alone(
    client: httpx.AsyncClient, folder: Path, method: str, path: str, needed: set[str]
) -> None:
    assert (await client.request(method, path, headers=JSON)).status_code == 401
    unknown = await client.request(method, path, headers=JSON | bearer("x" * 43))
    assert (unknown.status_code, unknown.headers["www-authenticate"]) == (401, "Bearer")
    for role in ROLES:
        answer = await client.request(method, path, headers=JSON | bearer(token_of(folder, role)), content=b"{")
        assert (answer.status_code == 403) == (role not in needed), role
        assert answer.status_code in (200, 400, 403)


V2_EXPLAINED = [
    {"name": "user_id", "datatype": "INT64", "shape": [2], "data": [4711, 5]},
    {"name": "explain", "datatype": "BOOL", "shape": [2], "data": [False, True]},
]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, {"instances": [{"user_id": 4711}, {"user_id": 5, "explain": True}]}),
        ("/v2/models/recall/infer", {"inputs": V2_EXPLAINED}),
    ],
)
async def test_who_only_asks_gets_no_explanation_and_the_log_no_user(
    client: httpx.AsyncClient, folder: Path, caplog: pytest.LogCaptureFixture, path: str, body: dict[str, Any]
) -> None:
    before = _turned_away()
    with caplog.at_level(logging.DEBUG):
        refused = await client.post(path, json=body, headers=bearer(token_of(folder, "ask")))
        told = await client.post(path, json=body, headers=bearer(token_of(folder, "operate")))
    assert refused.status_code == 403
    assert refused.json()["error"].startswith("explain: needs a token of the role `operate`")
    assert (told.status_code, _turned_away() - before) == (200, 1)
    assert "explanation" in told.text
    lines = [line for line in caplog.messages if "httpx" not in line]
    assert any("explain" in line for line in lines) and not any("4711" in line for line in lines)


def _turned_away() -> float:
    return TURNED_AWAY.labels("role")._value.get()


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/health/ready", "/v1/models/recall", "/docs"])
async def test_health_and_the_page_are_open(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        (JSON | {"Origin": "https://evil.example"}, 403),
        (JSON | {"Origin": "null"}, 403),
        (JSON | {"Origin": "http://127.0.0.1:8000"}, 403),
        (JSON | {"Sec-Fetch-Site": "cross-site"}, 403),
        (JSON | {"Sec-Fetch-Site": "same-site"}, 403),
        (JSON | {"Host": "rebound.example", "Origin": "http://rebound.example"}, 403),
        (JSON | {"Host": "127.0.0.1.evil.example"}, 403),
    ],
)
async def test_a_web_page_removes_nothing_even_with_a_token(
    client: httpx.AsyncClient, folder: Path, headers: dict[str, str], status: int
) -> None:
    shown = bearer(token_of(folder, "items"))
    assert (await client.post("/v1/items", content=REMOVE_ALL, headers=shown | headers)).status_code == status


@pytest.mark.parametrize("path", ["/v2/health/live", "/docs", "/metrics", "/nothing"])
async def test_a_foreign_page_is_refused_on_every_route(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Origin": "https://evil.example"})
    assert (answer.status_code, answer.json()["error"].partition(":")[0]) == (403, "Origin")


async def test_the_services_own_page_may_ask(client: httpx.AsyncClient, folder: Path) -> None:
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"} | bearer(token_of(folder, "ask"))
    answer = await client.post(PREDICT, json={"instances": [{"user_id": 5}]}, headers=own)
    assert answer.status_code == 200


async def test_a_refusal_is_logged_once_and_shows_no_token(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "serving.http.door"):
        for _ in range(50):
            await client.post("/v1/items", content=REMOVE_ALL, headers=JSON | bearer("guess" * 9))
    (line,) = caplog.messages
    assert "401" in line and "/v1/items" in line and "guess" not in line


async def test_the_page_says_what_each_route_needs(client: httpx.AsyncClient) -> None:
    page = (await client.get("/openapi.json")).json()
    assert page["paths"]["/v1/items"]["post"]["security"] == [{"token": ["items"]}]
    assert page["paths"][PREDICT]["post"]["security"] == [{"token": ["ask"]}, {"token": ["operate"]}]
    assert page["paths"]["/v2/health/live"]["get"]["security"] == []
    assert page["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_a_route_that_does_not_say_what_it_needs_does_not_start() -> None:
    app = FastAPI()
    app.add_api_route("/new", lambda: None)
    with pytest.raises(ValueError, match="/new: must say"):
        Needs(app)


@pytest.mark.parametrize(
    ("path", "role"), [(PREDICT, "ask"), ("/v2/models/recall/infer", "ask"), ("/v1/events", "events")]
)
async def test_a_packed_body_is_refused_by_its_header(
    client: httpx.AsyncClient, folder: Path, path: str, role: str
) -> None:
    headers = {**JSON, "Authorization": f"Bearer {token_of(folder, role)}", "Content-Encoding": "gzip"}
    body = gzip.compress(b'{"instances": [{"user_id": 1}]}')
    answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"].startswith("Content-Encoding: must be absent") and "gzip" in answer.json()["error"]
    plain = await client.post(path, content=b"{", headers={**headers, "Content-Encoding": "identity"})
    assert plain.status_code == 400
