"""What the client's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pagoda import AsyncClient, Client

from .services import Service, serving

Ask = Callable[..., Any]


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on this machine."""
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def nobody(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says nothing of any installation."""
    monkeypatch.setenv("PAGODA_HOME", str(tmp_path / "none"))
    for name in ("PAGODA_TOKEN", "PAGODA_RECALL__URL", "PAGODA_ITEMS__URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=[Client, AsyncClient])
def ask(request: pytest.FixtureRequest, service: Service) -> Ask:
    """Calls a method of each kind of client in turn: `ask("recommend", 5, k=2)`; `options` are the client's own."""

    def call(method: str, *arguments: Any, options: dict[str, Any] | None = None, **named: Any) -> Any:
        client = request.param(service.url, **{"items_url": service.url, "patience": 5, **(options or {})})
        if isinstance(client, Client):
            with client:
                return getattr(client, method)(*arguments, **named)

        async def awaited() -> Any:
            async with client:
                return await getattr(client, method)(*arguments, **named)

        return asyncio.run(awaited())

    return call
