"""Collections on a Milvus server. Keeps to what servers 2.3 to 2.6 have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pymilvus.client.types import LoadState

from pagoda.errors import UnavailableError
from pagoda.index.base import DEFAULT_INDEX, METRIC, CollectionFacts, Hits
from pagoda.index.milvus.arrow_rows import collection_schema, to_hits, to_rows
from pagoda.index.milvus.bulk_import import import_files, staged
from pagoda.index.milvus.connection import MilvusConnection
from pagoda.index.milvus.expression import expression
from pagoda.index.milvus.full_text import WORDS, add_index, require_version
from pagoda.index.milvus.parameters import build_params, search_params
from pagoda.item_vectors.fields import ITEM_KEY, VECTOR, FilterField
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.item_vectors.texts import TEXT
from pagoda.settings import CollectionConfig

_POLL_SECONDS = 0.2
_INSERT_BYTES = 4 << 20
"""A gRPC message may hold 64 MiB; smaller batches keep the server's buffers short."""

_ROWS_BYTES = 8 << 20
"""Of the rows of a message with their texts, whose words take up to four times as much (`pagoda.index.words`)."""
_DELETE_IDS = 10_000


class MilvusCollections:
    """`pagoda.index.base.Collections` of one Milvus server."""

    def __init__(self, uri: str, token: str = "", timeout_seconds: float = 10.0, imports: str = "") -> None:
        """Nothing is asked yet.

        Args:
            uri: Of the server.
            token: `user:password`, or empty.
            timeout_seconds: For a call whose work does not grow with the collection.
            imports: `MilvusSettings.imports`: from where the server imports by itself; empty: rows are inserted.
        """
        self.uri, self._imports = uri, imports
        self.file_import = self._import_files if imports else None
        self._connection = MilvusConnection(uri, token, timeout_seconds)
        self._timeout = timeout_seconds
        self._index_kinds: dict[str, str] = {}

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def names(self) -> list[str]:
        """Names of all collections on the server, sorted."""
        with self._connection.client("list", "*") as client:
            return sorted(client.list_collections(timeout=self._timeout))

    def exists(self, name: str) -> bool:
        """Whether there is a collection `name`."""
        with self._connection.client("look-up", name) as client:
            return bool(client.has_collection(name, timeout=self._timeout))

    def description(self, name: str) -> str:
        """The text that was given when the collection was created."""
        with self._connection.client("description", name) as client:
            return str(client.describe_collection(name, timeout=self._timeout)["description"])

    def facts(self, name: str) -> CollectionFacts:
        """See `Collections.facts`. Only a loaded collection is counted, as a search of it would see it."""
        with self._connection.client("description", name) as client:
            fields = client.describe_collection(name, timeout=self._timeout)["fields"]
            indexed = VECTOR in client.list_indexes(name, timeout=self._timeout)
            index = client.describe_index(name, VECTOR, timeout=self._timeout) if indexed else {}
        dims = (int(field["params"]["dim"]) for field in fields if field["name"] == VECTOR)
        return CollectionFacts(
            loaded=(loaded := self.loaded(name)),
            rows=self.count(name) if loaded else None,
            dim=next(dims, None),
            metric=index.get("metric_type"),
            kind=index.get("index_type"),
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
            ConfigError: It shall have words, and the server searches none.
        """
        if TEXT in fields:
            self.require_words()
        schema = collection_schema(dim, fields, keys=keys, description=description)
        with self._connection.client("creation", name) as client:
            client.create_collection(name, schema=schema, timeout=self._timeout)

    def require_words(self) -> None:
        """Refuse a server that searches no words.

        Raises:
            ConfigError: It is too old.
        """
        with self._connection.client("version", "*") as client:
            version = client.get_server_version(timeout=self._timeout)
        require_version(str(version), self.uri)

    def insert(self, name: str, batch: pa.RecordBatch, progress: Callable[[int], None] | None = None) -> None:
        """See `Collections.insert`; `progress` is told how many rows each message took."""
        for part in _parts(batch):
            with self._connection.client("insertion", name) as client:
                client.insert(name, to_rows(part), timeout=self._long)
            if progress:
                progress(part.num_rows)

    def _import_files(
        self, name: str, files: Sequence[str], timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """See `FileImport` and `pagoda.index.milvus.bulk_import`."""
        with staged(files, self._imports, name) as places:
            import_files(self._connection, name, places, timeout_seconds, progress)

    def upsert(self, name: str, batch: pa.RecordBatch) -> None:
        """Insert rows, in place of those of the same IDs. Searches see them within about a second."""
        for part in _parts(batch):
            with self._connection.client("upsert", name) as client:
                client.upsert(name, to_rows(part), timeout=self._long)

    def delete(self, name: str, ids: np.ndarray) -> None:
        """Delete items by their IDs, int64 [n]; unknown ones are no error. Searches see it within about a second."""
        for start in range(0, len(ids), _DELETE_IDS):
            with self._connection.client("deletion", name) as client:
                client.delete(name, ids=ids[start : start + _DELETE_IDS].tolist(), timeout=self._long)

    def flush(self, name: str) -> None:
        """Seal what was inserted, so that it can be indexed."""
        with self._connection.client("flush", name) as client:
            client.flush(name, timeout=self._long)

    def start_index(self, name: str, config: CollectionConfig) -> None:
        """Ask for the vector index, and for that of words; `wait_indexed` says when they are there."""
        with self._connection.client("indexing", name) as client:
            params = client.prepare_index_params()
            fields = client.describe_collection(name, timeout=self._timeout)["fields"]
            # First, so that one who was killed between the two has not asked for the vectors'.
            if any(field["name"] == WORDS for field in fields):
                add_index(params)
            params.add_index(
                VECTOR, index_name=VECTOR, index_type=config.kind, metric_type=METRIC, params=build_params(config)
            )
            # Its own blocking wait kept blocking after the index was complete.
            client.create_index(name, params, sync=False, timeout=self._timeout)

    def indexed_rows(self, name: str) -> int | None:
        """Rows that the index holds so far, and that of words, too; None when none was asked for."""
        with self._connection.client("index state", name) as client:
            asked_for = client.list_indexes(name, timeout=self._timeout)
            if VECTOR not in asked_for:
                return None
            states = [client.describe_index(name, index, timeout=self._timeout) for index in asked_for]
            return min(int(state["indexed_rows"]) for state in states)

    def wait_indexed(
        self, name: str, rows: int, timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """Wait until the index holds `rows` rows.

        Raises:
            UnavailableError: It does not within `timeout_seconds`.
        """

        def indexed() -> bool:
            done = self.indexed_rows(name) or 0
            if progress:
                progress(done)
            return done >= rows

        self._wait(f"index of collection {name!r} does not hold {rows} rows", indexed, timeout_seconds)

    def start_loading(self, name: str) -> None:
        """Ask for the collection in memory; `loaded` says when it is."""
        with self._connection.client("loading", name) as client:
            client.load_collection(name, timeout=self._long, _async=True)

    def release(self, name: str) -> None:
        """Take the collection out of memory; it stays on disk."""
        with self._connection.client("release", name) as client:
            client.release_collection(name, timeout=self._long)

    def load(self, name: str, timeout_seconds: float = 600.0) -> None:
        """Bring the collection into memory and wait until all of it can be searched."""
        self.start_loading(name)
        self._wait(f"collection {name!r} is not loaded", lambda: self.loaded(name), timeout_seconds)

    def loaded(self, name: str) -> bool:
        """Whether the whole collection is in memory."""
        with self._connection.client("load state", name) as client:
            return bool(client.get_load_state(name, timeout=self._timeout)["state"] == LoadState.Loaded)

    def count(self, name: str) -> int:
        """Rows that a search would see now, exactly: strong consistency, deletions taken off. It must be loaded."""
        with self._connection.client("count", name) as client:
            answer = client.query(
                name, filter="", output_fields=["count(*)"], consistency_level="Strong", timeout=self._long
            )
            return int(answer[0]["count(*)"])

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
        """See `Collections.search`. Consistency is eventual: strong costs p50 365 ms."""
        kind = self._index_kind(name)
        with self._connection.client("search", name) as client:
            answers = client.search(
                name,
                vectors,
                filter=expression(wanted, excluded),
                limit=k,
                output_fields=[ITEM_KEY] if keys else None,
                search_params={
                    "metric_type": METRIC,
                    "params": search_params(kind, k, effort, filtered=bool(wanted)),
                },
                anns_field=VECTOR,
                consistency_level="Eventually",
                timeout=self._timeout,
            )
        return [to_hits(answer, keys=keys) for answer in answers]

    def drop(self, name: str) -> None:
        """Remove the collection, loaded or not; nothing happens when there is none."""
        self._index_kinds.pop(name, None)
        with self._connection.client("removal", name) as client:
            client.drop_collection(name, timeout=self._long)

    def _index_kind(self, name: str) -> str:
        kind = self._index_kinds.get(name)
        if kind is None:
            with self._connection.client("index state", name) as client:
                state = client.describe_index(name, VECTOR, timeout=self._timeout)
            if state is None:
                raise UnavailableError(f"collection {name!r} at {self.uri} has no index yet")
            kind = self._index_kinds[name] = str(state["index_type"])
        return kind

    def _wait(self, complaint: str, done: Callable[[], bool], timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not done():
            if time.monotonic() > deadline:
                raise UnavailableError(f"{complaint} after {timeout_seconds:.0f} s at {self.uri}")
            time.sleep(_POLL_SECONDS)

    @property
    def _long(self) -> float:
        """Seconds for calls whose work grows with the collection."""
        return max(60.0, self._timeout)


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows, a message at a time."""
    step = max(1, _INSERT_BYTES // (4 * batch[VECTOR].type.list_size))
    for start in range(0, batch.num_rows, step):
        yield from _halves(batch.slice(start, step))


def _halves(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Few enough rows at a time, where their texts are long."""
    if rows.num_rows > 1 and rows.nbytes > _ROWS_BYTES:
        half = rows.num_rows // 2
        yield from _halves(rows.slice(0, half))
        yield from _halves(rows.slice(half))
    else:
        yield rows
