"""The client for callers on an event loop; the twin of `client.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx
from tenacity import AsyncRetrying

from pagoda.client import calls
from pagoda.client.answers import EventsTaken, InterestsSaid, ItemsChanged, Recommendation, SimilarItems
from pagoda.client.calls import READY, Call, Options, SimilarOptions
from pagoda.client.destinations import Destinations, Verify, http_options
from pagoda.client.events import Event
from pagoda.client.retrying import check_ready, failed, not_ready, policy, read, until_ready

T = TypeVar("T")


class AsyncClient:
    """`Client` for one event loop. Safe to share between its tasks.

    Every method raises:
        RequestError: What was asked is wrong; the message names the field.
        ConfigError: No address is known, or the token is missing or of another role.
        UnavailableError: There is no answer, also after trying again.
    """

    def __init__(
        self,
        url: str = "",
        *,
        items_url: str = "",
        token: str = "",
        home: Path | str | None = None,
        timeout: float = 5.0,
        patience: float = 30.0,
        verify: Verify = None,
    ) -> None:
        """See `Client`."""
        self._to = Destinations(url, items_url, token, Path(home) if home else None)
        self._retrying = AsyncRetrying(**policy(patience))
        self._http = httpx.AsyncClient(**http_options(timeout, verify))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def recommend(self, user_id: int | str, **options: Unpack[Options]) -> Recommendation:
        """See `Client`."""
        return (await self.recommend_many([user_id], **options))[0]

    async def recommend_many(self, user_ids: Iterable[int | str], **options: Unpack[Options]) -> list[Recommendation]:
        """See `Client`."""
        return [one for call in calls.recommend(user_ids, options) for one in await self._send(call)]

    async def similar(self, *item_ids: int | str, **options: Unpack[SimilarOptions]) -> SimilarItems:
        """See `Client`."""
        return await self._send(calls.similar(item_ids, options))

    async def send_events(self, events: Iterable[Event]) -> EventsTaken:
        """See `Client`."""
        return calls.together([await self._send(call) for call in calls.send_events(events)])

    async def change_items(
        self, *, upsert: Sequence[Mapping[str, Any]] = (), remove: Sequence[int | str] = ()
    ) -> ItemsChanged:
        """See `Client`."""
        return await self._send(calls.change_items(upsert, remove))

    async def say_interests(self, user_id: int | str, interests: Sequence[str]) -> InterestsSaid:
        """See `Client`."""
        return await self._send(calls.say_interests(user_id, interests))

    async def wait_ready(self, seconds: float = 60.0) -> None:
        """See `Client`."""
        await AsyncRetrying(**until_ready(seconds))(self._ready)

    async def _ready(self) -> None:
        url = self._to.base("ask")
        try:
            answer = await self._http.get(url + READY)
        except httpx.TransportError as error:
            raise not_ready(url) from error
        check_ready(url, answer)

    async def _send(self, call: Call[T]) -> T:
        # A copy each, for tenacity notes in it where a call is, and tasks go on between each other.
        answer: T = await self._retrying.copy()(self._once, call)
        return answer

    async def _once(self, call: Call[T]) -> T:
        url = self._to.base(call.role)
        try:
            headers = self._to.headers(call)
            answer = await self._http.request(call.method, url + call.path, content=call.body, headers=headers)
        except httpx.TransportError as error:
            raise failed(call, url, error) from error
        return read(call, url, answer)
