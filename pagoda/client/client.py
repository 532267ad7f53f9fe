"""The client for callers that block. Its twin is `async_client.py`; what both have in common is beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

import httpx
from tenacity import Retrying

from pagoda.client import calls
from pagoda.client.answers import EventsTaken, InterestsSaid, ItemsChanged, Recommendation, SimilarItems
from pagoda.client.calls import READY, Call, Options, SimilarOptions
from pagoda.client.destinations import Destinations, Verify, http_options
from pagoda.client.events import Event
from pagoda.client.retrying import check_ready, failed, not_ready, policy, read, until_ready

T = TypeVar("T")


class Client:
    """A caller of one installation. Safe to share between threads; connections are kept and used again.

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
        """Connect to nothing yet.

        Args:
            url: Of the recall service. Default: `PAGODA_RECALL__URL`, else the home's.
            items_url: Of the listener for item changes. Default: `PAGODA_ITEMS__URL`, else the home's.
            token: For all roles that are needed. Default: `PAGODA_TOKEN`, else the home's at its own addresses.
            home: Of an installation on this machine. Default: `PAGODA_HOME`, else `.pagoda`.
            timeout: Seconds that a try may take.
            patience: Seconds within which a call that may be sent again is; 0: one try.
            verify: PEM file or folder of a private authority, or an SSL context. Default: the public ones.
        """
        self._to = Destinations(url, items_url, token, Path(home) if home else None)
        self._retrying = Retrying(**policy(patience))
        self._http = httpx.Client(**http_options(timeout, verify))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def recommend(self, user_id: int | str, **options: Unpack[Options]) -> Recommendation:
        """A user's items."""
        return self.recommend_many([user_id], **options)[0]

    def recommend_many(self, user_ids: Iterable[int | str], **options: Unpack[Options]) -> list[Recommendation]:
        """The items of many users, asked for in requests of up to a hundred."""
        return [one for call in calls.recommend(user_ids, options) for one in self._send(call)]

    def similar(self, *item_ids: int | str, **options: Unpack[SimilarOptions]) -> SimilarItems:
        """Items like these."""
        return self._send(calls.similar(item_ids, options))

    def send_events(self, events: Iterable[Event]) -> EventsTaken:
        """Tell what users did, in requests of up to two hundred, each taken whole or not at all.

        Where this raises, the same events can be sent again: those that were taken are not counted twice.
        """
        return calls.together([self._send(call) for call in calls.send_events(events)])

    def change_items(
        self, *, upsert: Sequence[Mapping[str, Any]] = (), remove: Sequence[int | str] = ()
    ) -> ItemsChanged:
        """Add items or replace all features of those that exist, and remove others; all or nothing."""
        return self._send(calls.change_items(upsert, remove))

    def say_interests(self, user_id: int | str, interests: Sequence[str]) -> InterestsSaid:
        """Say what a user likes, in place of what they said before; the next answer knows it."""
        return self._send(calls.say_interests(user_id, interests))

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until a request has gone all the way through the service.

        Raises:
            UnavailableError: It did not in this time.
        """
        Retrying(**until_ready(seconds))(self._ready)

    def _ready(self) -> None:
        url = self._to.base("ask")
        try:
            answer = self._http.get(url + READY)
        except httpx.TransportError as error:
            raise not_ready(url) from error
        check_ready(url, answer)

    def _send(self, call: Call[T]) -> T:
        answer: T = self._retrying.copy()(self._once, call)
        return answer

    def _once(self, call: Call[T]) -> T:
        url = self._to.base(call.role)
        try:
            headers = self._to.headers(call)
            answer = self._http.request(call.method, url + call.path, content=call.body, headers=headers)
        except httpx.TransportError as error:
            raise failed(call, url, error) from error
        return read(call, url, answer)
