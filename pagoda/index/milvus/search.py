"""Item search on a Milvus server: asynchronous, eventually consistent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from types import MethodType
from typing import Any, cast

import grpc
import numpy as np
from pymilvus import AsyncMilvusClient, MilvusException
from pymilvus.client.call_context import CallContext
from pymilvus.client.utils import check_status
from pymilvus.grpc_gen.schema_pb2 import SearchResultData

from pagoda.errors import RequestError, UnavailableError
from pagoda.index.base import METRIC, MOST_FOUND, FilterCount, FoundItem, TextSearch
from pagoda.index.milvus import full_text
from pagoda.index.milvus.expression import expression, is_unreadable
from pagoda.index.milvus.parameters import search_params
from pagoda.index.words import words_of
from pagoda.item_vectors.fields import ITEM_ID, ITEM_KEY, VECTOR
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.item_vectors.vectors_by_id import VectorsById, no_vectors

logger = logging.getLogger(__name__)
_RECONNECTING = {f"grpc.{which}_reconnect_backoff_ms": 1000 for which in ("initial", "min", "max")}
"""Left alone, gRPC waits up to two minutes before it looks whether a server is back."""


def _untraced() -> None:
    """No request has a name."""


class MilvusSearch:
    """`pagoda.index.base.ItemSearch` of one Milvus server."""

    def __init__(
        self,
        uri: str,
        token: str,
        timeout_seconds: float,
        effort: int,
        request_id: Callable[[], str | None] = _untraced,
        *,
        refine: int = 1,
        originals: Callable[[str], VectorsById | None] = no_vectors,
    ) -> None:
        """Make a client, which connects at the first search.

        Args:
            uri: Of the server.
            token: `user:password`, or empty.
            timeout_seconds: For one search.
            effort: See `CollectionConfig`.
            request_id: What the request of now is called in traces; Milvus' own log then calls it so too.
            refine: See `CollectionConfig`.
            originals: Those of a collection; None: what its codes say comes back.
        """
        self.match: TextSearch | None = self._match
        self.count: FilterCount | None = None  # What `count(*)` under a filter costs it was not measured.
        self._refine, self._originals = refine, originals
        self._uri, self._timeout, self._effort, self._request_id = uri, timeout_seconds, effort, request_id
        self._client = AsyncMilvusClient(uri, token=token, timeout=timeout_seconds, grpc_options=_RECONNECTING)
        self._kinds: dict[str, str] = {}
        self._plain = False

    async def close(self) -> None:
        """Close the connection."""
        await self._client.close()

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
        originals = self._originals(collection)
        held = k if originals is None else min(MOST_FOUND, self._refine * k)
        with self._errors(collection, wanted, "index"):
            params = search_params(await self._kind(collection), held, self._effort, filtered=bool(wanted))
            results = await self._ask(
                collection,
                list(vectors) if originals is None else originals.asked(np.asarray(vectors, np.float32)).tolist(),
                VECTOR,
                {"metric_type": METRIC, "params": params},
                k=held,
                where=expression(wanted, excluded),
                keys=keys,
            )
        if originals is None:
            return _items(results, keys)
        # A page that is not in memory is waited for, and nobody else may have to.
        return await asyncio.to_thread(_refined, results, keys, vectors, k, originals)

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """See `ItemSearch.vectors`."""
        if (originals := self._originals(collection)) is not None:
            return await asyncio.to_thread(originals.of, ids)
        with self._errors(collection, EVERYTHING, "index"):
            rows = await self._client.get(
                collection,
                list(ids),
                output_fields=[VECTOR],
                timeout=self._timeout,
                consistency_level="Eventually",
                client_request_id=self._request_id(),
            )
        return {row[ITEM_ID]: list(map(float, row[VECTOR])) for row in rows}

    async def _match(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: Sequence[int], keys: bool
    ) -> list[FoundItem]:
        """See `TextSearch`. Knowhere gives no item without one of the words (src/index/sparse/sparse_inverted_index.h,
        and SearchSparseWithBuf in src/common/comp/brute_force.cc)."""
        if not (words := words_of(text)):
            return []
        with self._errors(collection, wanted, "text"):
            found = await self._ask(
                collection,
                [" ".join(words)],
                full_text.WORDS,
                {"metric_type": full_text.METRIC},
                k=k,
                where=expression(wanted, excluded),
                keys=keys,
                # Who asks waits half as long, so that slow words are missing from their answer, and no failure here.
                timeout=2 * self._timeout,
            )
        return _items(found, keys)[0]

    async def _ask(
        self,
        collection: str,
        asked: list[Any],
        field: str,
        params: dict[str, Any],
        *,
        k: int,
        where: str,
        keys: bool,
        timeout: float | None = None,
    ) -> SearchResultData:
        await self._ask_plainly()
        found = await self._client.search(
            collection,
            asked,
            filter=where,
            limit=k,
            output_fields=[ITEM_KEY] if keys else None,
            search_params=params,
            anns_field=field,
            consistency_level="Eventually",
            timeout=timeout or self._timeout,
            client_request_id=self._request_id(),
        )
        return cast(SearchResultData, found)  # See `_ask_plainly`.

    @contextmanager
    def _errors(self, collection: str, wanted: Filter, part: str) -> Iterator[None]:
        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            if wanted and isinstance(error, MilvusException) and is_unreadable(str(error.message)):
                raise self._unreadable(collection, wanted) from error
            raise UnavailableError(f"search of collection {collection!r} at {self._uri}: {error}", part=part) from error

    def _unreadable(self, collection: str, wanted: Filter) -> RequestError:
        """Milvus answers, and will answer the same again: so it is said to the caller, and is no outage."""
        names = ", ".join(sorted({condition.field for condition in wanted}))
        # Its own message holds the expression, and so what the user has seen.
        logger.warning("collection %r at %s: Milvus cannot read a filter by %s", collection, self._uri, names)
        return RequestError(
            f"filter: the index cannot read a filter by {names}: is one of them a word of its own, as `pagoda data "
            "check` would say?"
        )

    async def _ask_plainly(self) -> None:
        """From now on searches give what Milvus says. pymilvus makes objects of each item: a fifth of recall's work."""
        if not self._plain:
            handler = await self._client._get_connection()
            handler._execute_search = MethodType(_search, handler)
            self._plain = True

    async def _kind(self, collection: str) -> str:
        """The index's type, which says what its search parameters are. A collection's never changes."""
        if collection not in self._kinds:
            state = await self._client.describe_index(collection, VECTOR, timeout=self._timeout)
            if state is None:
                raise UnavailableError(f"collection {collection!r} at {self._uri} has no index yet", part="index")
            self._kinds[collection] = str(state["index_type"])
        return self._kinds[collection]


async def _search(handler: Any, request: Any, timeout: float, context: CallContext, **_: Any) -> SearchResultData:
    """`AsyncGrpcHandler._execute_search` without its result objects."""
    response = await handler._async_stub.Search(request, timeout=timeout, metadata=context.to_grpc_metadata())
    check_status(response.status)
    return response.results


def _refined(
    found: SearchResultData, keys: bool, vectors: Sequence[Sequence[float]], k: int, originals: VectorsById
) -> list[list[FoundItem]]:
    """The best k for each vector of what was found by codes."""
    ids, scores = np.array(found.ids.int_id.data, np.int64), np.array(found.scores, np.float32)
    named = _named(found, keys)
    answers: list[list[FoundItem]] = []
    for vector, (start, end) in zip(vectors, pairwise(accumulate(found.topks, initial=0)), strict=True):
        query = np.asarray(vector, np.float32)
        places, exact = originals.best(query, ids[start:end], scores[start:end], k)
        best = zip((start + places).tolist(), exact.tolist(), strict=True)
        answers.append([{"item_id": named[place], "score": score} for place, score in best])
    return answers


def _items(found: SearchResultData, keys: bool) -> list[list[FoundItem]]:
    """What was found for each vector; Milvus gives all of it end to end."""
    named = zip(_named(found, keys), found.scores, strict=True)
    items: list[FoundItem] = [{"item_id": id_, "score": score} for id_, score in named]
    return [items[start:end] for start, end in pairwise(accumulate(found.topks, initial=0))]


def _named(found: SearchResultData, keys: bool) -> Sequence[int | str]:
    """What was found, as callers know it."""
    if not keys:
        return cast("Sequence[int]", found.ids.int_id.data)
    return [key for field in found.fields_data for key in field.scalars.string_data.data]
