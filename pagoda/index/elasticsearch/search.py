"""Item search on an Elasticsearch or OpenSearch cluster for the recall service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from pagoda.errors import PagodaError, RequestError, UnavailableError
from pagoda.index.base import FilterCount, FoundItem, TextSearch
from pagoda.index.elasticsearch.connection import LINES, authorization
from pagoda.index.elasticsearch.dialects import DIALECTS
from pagoda.index.elasticsearch.documents import mark_of
from pagoda.index.elasticsearch.multi_search import LIMITS, items_of, looked_up, reason, refusal, searches
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.settings import ElasticsearchSettings

_log = logging.getLogger(__name__)
_CONNECTIONS = 256
_OK = HTTPStatus.OK


class ElasticsearchSearch:
    """`pagoda.index.base.ItemSearch` of one cluster."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        timeout_seconds: float,
        effort: int,
        request_id: Callable[[], str | None],
    ) -> None:
        """Make a client, inside the running event loop; it connects at the first search.

        Args:
            settings: Where it is.
            timeout_seconds: For one search.
            effort: See `CollectionConfig`.
            request_id: What the request of now is called in traces; the servers' slow log then calls it so too.
        """
        self._uri, self._effort, self._request_id = settings.url.rstrip("/"), effort, request_id
        self._dialect = DIALECTS[settings.dialect]
        self._kinds: dict[str, str] = {}
        self.match: TextSearch | None = None  # See `IndexSettings.text`.
        self.count: FilterCount | None = None
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": LINES, **authorization(settings.api_key)},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def search(
        self,
        collection: str,
        vectors: Sequence[Sequence[float]],
        k: int,
        *,
        wanted: Filter,
        excluded: Sequence[int],
        keys: bool,
    ) -> list[list[FoundItem]]:
        """See `ItemSearch.search`."""
        kind = await self._kind(collection)
        lines = searches(
            self._dialect, kind, vectors, k, effort=self._effort, wanted=wanted, excluded=excluded, keys=keys
        )
        return [items_of(response, keys=keys) for response in await self._searched(collection, lines, wanted)]

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `ItemSearch.vectors`."""
        (response,) = await self._searched(collection, looked_up(self._dialect, ids), EVERYTHING)
        return {int(hit["_id"]): self._dialect.told(hit) for hit in response["hits"]["hits"]}

    async def _searched(self, collection: str, lines: bytes, wanted: Filter) -> list[dict[str, Any]]:
        status, answer = await self._ask(collection, "POST", "_msearch", lines)
        if refused := (status, reason(answer)) if status != _OK else refusal(answer):
            raise self._refused(collection, wanted, *refused)
        return list(answer["responses"])

    def _refused(self, collection: str, wanted: Filter, status: int, why: str) -> PagodaError:
        where = f"search of collection {collection!r} at {self._uri}"
        if not wanted or not any(limit in why for limit in LIMITS):
            return UnavailableError(f"{where}: {status}, {why}", part="index")
        # It answers, and will answer the same again: so it is said to the caller, and is no outage.
        names = ", ".join(sorted({condition.field for condition in wanted}))
        _log.warning("%s: it refuses a filter by %s", UnavailableError(where), names)
        return RequestError(f"filter: the index refuses a filter by {names}; ask for fewer values at once")

    async def _kind(self, collection: str) -> str:
        """The index's kind, which says how it is searched. A collection's never changes."""
        if collection not in self._kinds:
            status, answer = await self._ask(collection, "GET", "_mapping")
            where = f"search of collection {collection!r} at {self._uri}"
            if status != _OK:
                raise UnavailableError(f"{where}: {status}, {reason(answer)}", part="index")
            (mapping,) = answer.values()
            if (mark := mark_of(mapping)) is None:
                raise UnavailableError(f"{where}: that index is none of Pagoda's", part="index")
            self._kinds[collection] = str(mark["kind"])
        return self._kinds[collection]

    async def _ask(self, collection: str, method: str, what: str, lines: bytes | None = None) -> tuple[int, Any]:
        name = self._request_id()
        headers = {"X-Opaque-Id": name} if name else None
        try:
            async with self._http.request(
                method, f"{self._uri}/{collection}/{what}", data=lines, headers=headers
            ) as answer:
                return answer.status, orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            raise UnavailableError(
                f"search of collection {collection!r} at {self._uri}: {str(error) or type(error).__name__}",
                part="index",
            ) from error
