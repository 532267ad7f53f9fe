"""The search port: what is needed of collections of item vectors, whichever backend keeps and searches them.

Two protocols, since two kinds of callers need different things of one collection. Jobs (building, verifying, item
changes, retention, mining) make many different calls, one after another, and may block. The recall service makes one
call, thousands of times a second in one event loop: that call is a coroutine, so that no thread waits for each search,
and gives items as they are answered, so that nobody makes each anew.

`tests/index/test_contract.py` is the contract; it runs for each backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
import pyarrow as pa

from pagoda.item_vectors.fields import FilterField
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.settings import CollectionConfig

METRIC = "IP"
"""Inner product, of every collection; of unit vectors it is the cosine."""
MOST_FOUND = 16_384
"""The most items that one query may ask for."""
MOST_WORDS = 32
"""Of a text that is looked for: each is looked up in all items that have it."""
DEFAULT_INDEX = CollectionConfig()


def made_of(vectors: str) -> str:
    """How the description of a collection begins that was built from the vectors of a checksum."""
    return f"vectors {vectors} "


@dataclass(frozen=True)
class Hits:
    """What one query found, best first; fewer than k when fewer items pass the filter."""

    ids: np.ndarray
    """int64 [m]"""
    scores: np.ndarray
    """float32 [m]: inner products."""
    keys: list[str] | None = None
    """The caller's own string IDs, where they were asked for."""


class FoundItem(TypedDict):
    """One item that a search found, as callers know it, and its inner product."""

    item_id: int | str
    score: float


@dataclass(frozen=True)
class CollectionFacts:
    """What a backend says of a collection without searching it; None: it does not."""

    loaded: bool
    """Whether all of it can be searched."""
    rows: int | None
    """Items in it, changes and deletions counted."""
    dim: int | None
    """Length of a vector."""
    metric: str | None
    kind: str | None
    """Of its index, as in `CollectionConfig`."""


class FileImport(Protocol):
    """How a backend reads `item_vectors.parquet` files by itself, so that no row passes through this process."""

    def __call__(
        self, name: str, files: Sequence[str], timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """Fill a collection, and wait until all rows are persisted.

        Args:
            name: An empty collection.
            files: Paths or URLs.
            timeout_seconds: For all of them.
            progress: Told how many rows are in.

        Raises:
            UnavailableError: It failed, or not all are in in time.
        """


class Collections(Protocol):
    """The collections of one backend, for jobs. Safe to share between threads.

    A collection goes from created over filled, flushed, indexed and loaded to searchable, and each step can be asked
    about: a build that was killed is judged by what is there (invariant 5). A backend to which a step means nothing
    does nothing in it.

    Every call raises `UnavailableError` where the backend does not answer in time or cannot do it now, and
    `IntegrityError` where the collection does not exist; messages name the collection and `uri`.
    """

    uri: str
    """Where they are, for messages."""
    file_import: FileImport | None
    """Reads files by itself; None: rows are inserted."""

    def close(self) -> None:
        """Let go of what the backend holds; a later call opens it again."""

    def names(self) -> list[str]:
        """Names of all collections, sorted."""

    def exists(self, name: str) -> bool:
        """Whether there is a collection `name`."""

    def description(self, name: str) -> str:
        """The text that was given when the collection was created."""

    def facts(self, name: str) -> CollectionFacts:
        """What is known of a collection, complete or not, without bringing any of it into memory."""

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
        """Create an empty collection without an index.

        Args:
            name: Physical name: letters, digits and underscores.
            dim: Length of a vector.
            fields: Scalar fields that requests may filter by. With `pagoda.item_vectors.texts.TEXT` among them, the
                rows hold items' words, which are searched; a backend without `ItemSearch.match` is not asked for that.
            keys: Whether items have string IDs, stored beside the int64 ones.
            description: Says what is in it; cannot be changed later.
            config: What `start_index` will ask for, for those who index rows as they come.
        """

    def insert(self, name: str, batch: pa.RecordBatch, progress: Callable[[int], None] | None = None) -> None:
        """Add rows of new IDs; `progress` is told how many rows are in, part by part.

        Args:
            name: A collection that nobody searches yet.
            batch: Columns of `item_vectors.parquet` as `stored_batch` gives them.
            progress: Told of each part.

        Raises:
            DataError: The backend refuses the rows.
        """

    def upsert(self, name: str, batch: pa.RecordBatch) -> None:
        """Put rows in place of those of the same IDs, or beside them. Searches see them within about a second."""

    def delete(self, name: str, ids: np.ndarray) -> None:
        """Delete items by their IDs, int64 [n]; unknown ones are no error. Searches see it within about a second."""

    def flush(self, name: str) -> None:
        """Make what was inserted durable, and ready to be indexed."""

    def start_index(self, name: str, config: CollectionConfig) -> None:
        """Ask for the vector index; `wait_indexed` says when it is there."""

    def indexed_rows(self, name: str) -> int | None:
        """Rows that the index holds so far; None when no index was asked for."""

    def wait_indexed(
        self, name: str, rows: int, timeout_seconds: float, progress: Callable[[int], None] | None = None
    ) -> None:
        """Wait until the index holds `rows` rows; `progress` is told how many it does."""

    def start_loading(self, name: str) -> None:
        """Ask for the collection to be searchable; `loaded` says when it is."""

    def load(self, name: str, timeout_seconds: float = 600.0) -> None:
        """Make the collection searchable, and wait until all of it is."""

    def loaded(self, name: str) -> bool:
        """Whether all of the collection can be searched."""

    def release(self, name: str) -> None:
        """The collection need not be searchable any more; it stays on disk."""

    def count(self, name: str) -> int:
        """Rows that a search would see now, exactly, deletions taken off. It must be loaded."""

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
        """Find the k items of the largest inner product, for each query.

        Args:
            name: A loaded collection.
            vectors: float32 [q, dim].
            k: 1 to `MOST_FOUND`.
            effort: See `CollectionConfig`; raised where k or a filter needs more.
            wanted: What the items must satisfy.
            excluded: Item IDs (int64) that must not come back.
            keys: Give the items' string IDs too.

        Returns:
            One `Hits` for each query.
        """

    def drop(self, name: str) -> None:
        """Remove the collection, loaded or not; nothing happens when there is none."""


class TextSearch(Protocol):
    """How a backend finds items by words, in collections that hold them (`pagoda.item_vectors.texts.TEXT`)."""

    async def __call__(
        self, collection: str, text: str, k: int, *, wanted: Filter, excluded: Sequence[int], keys: bool
    ) -> list[FoundItem]:
        """Find the k items whose words are nearest to a text, best first; fewer if fewer have one of its words.

        Args:
            collection: Physical name of a loaded collection.
            text: In any language.
            k: 1 to 1,000.
            wanted: What the items must satisfy.
            excluded: Item IDs (int64) that must not come back.
            keys: Give the items' string IDs instead of their int64 ones.

        Returns:
            Items, and scores that can be compared with each other alone: the more, the better.

        Raises:
            UnavailableError: The backend does not answer in time, or cannot search the collection's words now.
        """


class FilterCount(Protocol):
    """How a backend counts what a filter leaves, where that costs it next to nothing."""

    async def __call__(self, collection: str, wanted: Filter) -> tuple[int, int]:
        """How many items a search would find that pass a filter, and how many without it.

        Args:
            collection: Physical name of a loaded collection.
            wanted: What the items must satisfy; not empty.

        Raises:
            UnavailableError: The backend does not answer in time, or cannot search the collection now.
        """


class ItemSearch(Protocol):
    """Search in the collections of one backend, for the recall service. Safe to share between requests."""

    match: TextSearch | None
    """Finds items by words; None: the backend has no such search."""
    count: FilterCount | None
    """Counts what a filter leaves; None: the backend cannot cheaply."""

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
        """Find the k items of the largest inner product with each vector, best first; fewer if fewer pass the filter.

        Args:
            collection: Physical name of a loaded collection.
            vectors: dim numbers each.
            k: 1 to 1,000.
            wanted: What the items must satisfy. Not empty, it may leave few items, so that the search looks further.
            excluded: Item IDs (int64) that must not come back: what a user has seen is never so much as to matter.
            keys: Give the items' string IDs instead of their int64 ones.

        Raises:
            UnavailableError: The backend does not answer in time, or cannot search the collection now.
        """

    async def vectors(self, collection: str, ids: Sequence[int]) -> dict[int, list[float]]:
        """Vectors of items by their IDs, as the collection was given them; an item that it lacks is absent.

        Args:
            collection: Physical name of a loaded collection.
            ids: int64, distinct, up to 100.

        Raises:
            UnavailableError: As for `search`.
        """

    async def close(self) -> None:
        """Let go of what the backend holds."""
