"""Collections as indices of one Elasticsearch or OpenSearch cluster, an item a document."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from pagoda.errors import DataError, IntegrityError, UnavailableError
from pagoda.index.base import DEFAULT_INDEX, METRIC, CollectionFacts, FileImport, Hits
from pagoda.index.elasticsearch.connection import BusyError, HttpConnection, SlowError
from pagoda.index.elasticsearch.dialects import DIALECTS
from pagoda.index.elasticsearch.documents import (
    MARK,
    delete_lines,
    index_body,
    mark_of,
    messages,
    put_lines,
    require_possible,
)
from pagoda.index.elasticsearch.multi_search import hits_of, reason, refusal, searches
from pagoda.item_vectors.fields import VECTOR, FilterField
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.settings import CollectionConfig, ElasticsearchSettings

_FILLING, _INDEXING, _INDEXED, _LOADED = "filling", "indexing", "indexed", "loaded"
_MERGE_SECONDS = 60.0
"""Between here and the server somebody may end a connection on which nothing is said for longer."""
_BUSY_SECONDS = 60.0


class ElasticsearchCollections:
    """`pagoda.index.base.Collections` of one cluster."""

    file_import: FileImport | None = None

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Nothing is asked yet."""
        self.uri = settings.url
        self._settings, self._dialect = settings, DIALECTS[settings.dialect]
        self._http = HttpConnection(settings.url, settings.api_key, settings.timeout_seconds)
        self._long = max(60.0, settings.timeout_seconds)
        self._kinds: dict[str, str] = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def names(self) -> list[str]:
        """Names of all collections, sorted; other indices of the cluster are none."""
        mappings = self._http.ask("list", "*", "GET", "/_mapping", seconds=self._long)
        return sorted(name for name, mapping in mappings.items() if mark_of(mapping))

    def exists(self, name: str) -> bool:
        """Whether there is a collection `name`."""
        try:
            self._http.ask("look-up", name, "HEAD", f"/{name}")
        except IntegrityError:
            return False
        return True

    def description(self, name: str) -> str:
        """See `Collections.description`."""
        return str(self._mark("description", name)["description"])

    def facts(self, name: str) -> CollectionFacts:
        """See `Collections.facts`; rows as searches see them now, null where a shard does not answer."""
        (mapping,) = self._http.ask("description", name, "GET", f"/{name}/_mapping").values()
        mark, counted = self._required(mark_of(mapping), "description", name), self._counted(name)
        whole = not counted["_shards"]["failed"]
        return CollectionFacts(
            loaded=mark["state"] == _LOADED and whole,
            rows=int(counted["count"]) if whole else None,
            dim=self._dialect.dim(mapping["mappings"]["properties"][VECTOR]),
            metric=METRIC,
            kind=mark["kind"],
        )

    def create(
        self,
        name: str,
        dim: int,
        fields: Sequence[FilterField],
        *,
        keys: bool,
        description: str,
        config: CollectionConfig = DEFAULT_INDEX,
    ) -> None:
        """See `Collections.create`.

        Raises:
            ConfigError: Neither server has such an index, or takes such a name.
            ConflictError: It exists already.
        """
        require_possible(name, config.kind)
        meta = {MARK: {"description": description, "kind": config.kind, "state": _FILLING}}
        shards = self._settings.shards
        body = index_body(self._dialect, dim, fields, keys=keys, shards=shards, config=config, meta=meta)
        self._http.ask("creation", name, "PUT", f"/{name}", body=body)

    def insert(self, name: str, batch: pa.RecordBatch, progress: Callable[[int], None] | None = None) -> None:
        """See `Collections.insert`; `progress` is told how many rows each message took."""
        self._send("insertion", name, put_lines(batch), progress)

    def upsert(self, name: str, batch: pa.RecordBatch) -> None:
        """See `Collections.upsert`."""
        self._send("upsert", name, put_lines(batch))

    def delete(self, name: str, ids: np.ndarray) -> None:
        """See `Collections.delete`."""
        self._send("deletion", name, delete_lines(ids))

    def flush(self, name: str) -> None:
        """Make what was inserted searchable; each message was durable when it was answered."""
        self._http.ask("flush", name, "POST", f"/{name}/_refresh", seconds=self._long)

    def start_index(self, name: str, config: CollectionConfig) -> None:
        """See `Collections.start_index`; graphs grow as rows come, and who waits has them made one a shard."""
        self._set("indexing", name, _INDEXING)

    def indexed_rows(self, name: str) -> int | None:
        """See `Collections.indexed_rows`."""
        state = self._mark("index state", name)["state"]
        if state in (_INDEXED, _LOADED):
            return self.count(name)
        return None if state == _FILLING else 0

    def wait_indexed(
        self, name: str, rows: int, timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """See `Collections.wait_indexed`."""
        deadline = time.monotonic() + timeout_seconds
        while not self._merged(name, min(_MERGE_SECONDS, max(1.0, deadline - time.monotonic()))):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"index of collection {name!r} at {self.uri} is not merged after {timeout_seconds:.0f} s"
                )
        done = self.count(name)
        if done < rows:
            raise UnavailableError(f"index of collection {name!r} at {self.uri} holds {done} rows, expected {rows}")
        self._set("indexing", name, _INDEXED)
        if progress:
            progress(done)

    def _merged(self, name: str, seconds: float) -> bool:
        """Ask for one segment, and so one graph, a shard; whether that is done. One that is under way is waited for."""
        try:
            answer = self._http.ask(
                "merge", name, "POST", f"/{name}/_forcemerge", params={"max_num_segments": 1}, seconds=seconds
            )
        except SlowError:
            return False
        self._require_shards("merge", name, answer)
        return True

    def start_loading(self, name: str) -> None:
        """See `Collections.start_loading`: from now on changes are seen within a second, and there are replicas."""
        if self._mark("loading", name)["state"] not in (_INDEXED, _LOADED):
            raise UnavailableError(f"loading of collection {name!r} at {self.uri}: it has no index yet")
        serving = {"refresh_interval": "1s", "number_of_replicas": self._settings.replicas}
        self._http.ask("loading", name, "PUT", f"/{name}/_settings", body={"index": serving})
        self._set("loading", name, _LOADED)

    def load(self, name: str, timeout_seconds: float = 600.0) -> None:
        """See `Collections.load`. Replicas are not waited for: one more copy makes no difference to an answer."""
        self.start_loading(name)
        self.count(name)

    def loaded(self, name: str) -> bool:
        """See `Collections.loaded`."""
        try:
            state = self._mark("load state", name)["state"]
            return bool(state == _LOADED and not self._counted(name)["_shards"]["failed"])
        except IntegrityError:
            return False

    def release(self, name: str) -> None:
        """See `Collections.release`. It stays open: what nobody asks for leaves memory by itself."""
        self._kinds.pop(name, None)
        if self._mark("release", name)["state"] == _LOADED:
            self._set("release", name, _INDEXED)

    def count(self, name: str) -> int:
        """See `Collections.count`; of all shards, or it fails."""
        self.flush(name)
        answer = self._counted(name)
        self._require_shards("count", name, answer)
        return int(answer["count"])

    def search(
        self,
        name: str,
        vectors: np.ndarray,
        k: int,
        *,
        effort: int,
        wanted: Filter = EVERYTHING,
        excluded: Sequence[int] = (),
        keys: bool = False,
    ) -> list[Hits]:
        """See `Collections.search`."""
        kind = self._loaded_kind(name)
        lines = searches(
            self._dialect, kind, vectors.tolist(), k, effort=effort, wanted=wanted, excluded=excluded, keys=keys
        )
        answer = self._http.ask("search", name, "POST", f"/{name}/_msearch", lines=lines, seconds=self._long)
        if refused := refusal(answer):
            raise UnavailableError(f"search of collection {name!r} at {self.uri}: {refused[1]}")
        return [hits_of(response, keys=keys) for response in answer["responses"]]

    def drop(self, name: str) -> None:
        """See `Collections.drop`."""
        self._kinds.pop(name, None)
        try:
            self._http.ask("removal", name, "DELETE", f"/{name}", seconds=self._long)
        except IntegrityError:
            return

    def _counted(self, name: str) -> Any:
        return self._http.ask("count", name, "GET", f"/{name}/_count", seconds=self._long)

    def _send(
        self, doing: str, name: str, lines: Iterable[bytes], progress: Callable[[int], None] | None = None
    ) -> None:
        """Lines of `_bulk`, a message at a time. Each says what is to be there, so a message may be sent again."""
        self._mark(doing, name)  # Either server would make an index of that name by itself, where there is none.
        for message, items in messages(lines):
            for attempt in Retrying(
                retry=retry_if_exception_type(BusyError),
                wait=wait_exponential(0.25, max=10),
                stop=stop_after_delay(_BUSY_SECONDS),
                reraise=True,
            ):
                with attempt:
                    self._send_message(doing, name, message)
            if progress:
                progress(items)

    def _send_message(self, doing: str, name: str, message: bytes) -> None:
        answer = self._http.ask(doing, name, "POST", f"/{name}/_bulk", lines=message, seconds=self._long)
        if not answer["errors"]:
            return
        for item in answer["items"]:
            (done,) = item.values()
            if "error" not in done:
                continue
            told = f"{doing} of collection {name!r} at {self.uri}: item {done['_id']}: {reason(done)}"
            if done["status"] == HTTPStatus.TOO_MANY_REQUESTS:
                raise BusyError(told)
            raise DataError(told) if done["status"] == HTTPStatus.BAD_REQUEST else UnavailableError(told)

    def _mark(self, doing: str, name: str) -> dict[str, Any]:
        (mapping,) = self._http.ask(doing, name, "GET", f"/{name}/_mapping").values()
        return self._required(mark_of(mapping), doing, name)

    def _required(self, mark: dict[str, Any] | None, doing: str, name: str) -> dict[str, Any]:
        if mark is None:
            raise IntegrityError(f"{doing} of collection {name!r} at {self.uri}: that index is none of Pagoda's")
        return mark

    def _set(self, doing: str, name: str, state: str) -> None:
        meta = {MARK: self._mark(doing, name) | {"state": state}}
        self._http.ask(doing, name, "PUT", f"/{name}/_mapping", body={"_meta": meta})

    def _loaded_kind(self, name: str) -> str:
        if name not in self._kinds:
            mark = self._mark("search", name)
            if mark["state"] != _LOADED:
                raise UnavailableError(f"search of collection {name!r} at {self.uri}: it is not loaded")
            self._kinds[name] = str(mark["kind"])
        return self._kinds[name]

    def _require_shards(self, doing: str, name: str, answer: Any) -> None:
        shards = answer["_shards"]
        if shards["failed"]:
            where = f"{doing} of collection {name!r} at {self.uri}"
            raise UnavailableError(f"{where}: {shards['failed']} of {shards['total']} shards failed")
