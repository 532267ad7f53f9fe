"""The door of a server that knows no tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.responses import PlainTextResponse

from pagoda.access.password_door import LOGIN, PasswordDoor


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    door = PasswordDoor(PlainTextResponse("in"), "p" * 43, open_paths=["/health"], hosts=["127.0.0.1"])
    transport = httpx.ASGITransport(door)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


async def test_the_password_opens_and_nothing_else(client: httpx.AsyncClient) -> None:
    assert (await client.get("/x", auth=("whoever", "p" * 43))).text == "in"
    assert (await client.get("/health")).text == "in"
    for headers in ({}, {"Authorization": "Basic !"}, {"Authorization": "Bearer " + "p" * 43}):
        answer = await client.get("/x", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="pagoda"')
    assert (await client.get("/x", auth=("whoever", "p" * 42))).status_code == 401


async def test_the_link_leads_to_an_address_without_the_password(client: httpx.AsyncClient) -> None:
    answer = await client.get(LOGIN, auth=("pagoda", "p" * 43))
    assert (answer.status_code, answer.headers["location"]) == (303, "http://127.0.0.1/")
    assert (await client.get(LOGIN)).status_code == 401


async def test_a_browser_that_knows_the_password_does_not_lend_it_to_other_pages(client: httpx.AsyncClient) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert (await client.get("/x", auth=("a", "p" * 43), headers=headers)).status_code == 403
