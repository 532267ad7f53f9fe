"""Building a collection that can be offered: imported, indexed, loaded, counted, probed, warmed (invariant 5)."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pagoda.config.model import Similarity
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, DataError, GateError, IntegrityError
from pagoda.index.base import METRIC, Collections, FileImport, made_of
from pagoda.index.probe import PROBE_K, SearchedCollection, probe, warm
from pagoda.item_vectors.fields import ITEM_ID, filter_fields
from pagoda.item_vectors.item_fields import ItemFields
from pagoda.item_vectors.scoring import probe_queries, stored_batch, stored_dim, with_vectors
from pagoda.item_vectors.texts import TEXT, text_names, with_texts
from pagoda.item_vectors.vector_files import ItemVectors, vectors_of
from pagoda.item_vectors.vectors_by_id import VectorsById
from pagoda.settings import CollectionConfig
from pagoda.storage.checksums import checksum_file

Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done and how much there is to do."""
_log = logging.getLogger(__name__)


class IndexReport(BaseModel):
    """A collection that can be offered, and what was measured on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Physical name of the collection."""
    rows: int
    dim: int
    metric: str = METRIC
    similarity: Similarity = Field(default="cosine", exclude_if=lambda name: name == "cosine")
    """What the vectors are compared by: the cosine is the inner product of unit vectors."""
    config: CollectionConfig
    texts: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)
    """Columns of the items whose words it can be searched by."""
    checksum: str
    """Of the vectors file it holds."""
    recall_at_100: float
    """Against exact search, over `queries` real query vectors; of a cascade at its candidates in place of 100."""
    queries: int
    search_ms: float
    """Median of warm searches for as many, one at a time."""
    reused: bool
    """Whether a complete one was there already."""
    seconds: dict[str, float]
    """By stage."""


def build_collection(
    collections: Collections,
    name: str,
    vectors: Path,
    spec: FeatureSpec,
    *,
    queries: np.ndarray,
    config: CollectionConfig | None = None,
    texts: ItemFields | None = None,
    originals: VectorsById | None = None,
    asked: int = PROBE_K,
    progress: Progress | None = None,
) -> IndexReport:
    """Build collection `name` from `vectors`, or keep it if it is there and passes the same checks.

    Nothing marks a collection as complete: whether it is, is measured. What a killed run left is dropped and rebuilt.
    So this is not for one that may serve already: item changes have made that differ from the file.

    Args:
        collections: Of the backend that shall search it.
        name: Physical name; new for each generation's vectors.
        vectors: `item_vectors.parquet`, or the list of its parts.
        spec: The feature declaration it was written with.
        queries: float32 [q, dim]: real user vectors, for the probe and for warming.
        config: Kind of index, search effort and the recall it must reach. Default: HNSW.
        texts: Where the items' words are, by which it shall be searched, too; None: it is not.
        originals: The same vectors, where recall scores again by them what the collection finds.
        asked: Items that recall will ask for, by which it is probed.
        progress: Told how far each stage is.

    Raises:
        ConfigError: Such vectors cannot be cut into `index.segments` parts.
        DataError: There are no items, or no queries of their dimension.
        GateError: The recall is too low, of a graph with more links, too; nothing remains of the collection.
        IntegrityError: The file is damaged, or rows are missing after the import.
        UnavailableError: The backend does not answer, or not in time; run it again.
    """
    source = ItemVectors(vectors, spec)
    config, told = config or CollectionConfig(), progress or _silent
    build = _Build(collections, name, source, spec, queries, config, originals, asked, told, texts)
    build.check_input()
    return build.keep() or build.make()


@dataclass
class _Build:
    collections: Collections
    name: str
    source: ItemVectors
    spec: FeatureSpec
    queries: np.ndarray
    config: CollectionConfig
    originals: VectorsById | None
    asked: int
    progress: Progress
    texts: ItemFields | None
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.checksum = checksum_file(self.source.path)
        self.reduction = self.originals.reduction if self.originals else None
        self.dim = self.reduction.dim if self.reduction else stored_dim(self.spec, self.source.dim)
        self.text_names = () if self.texts is None else text_names(self.spec)

    @property
    def description(self) -> str:
        """In the collection itself, so that one made of other vectors or with another index is never taken for it."""
        fewer = {"dim": self.dim} if self.reduction else {}
        index = json.dumps({"kind": self.config.kind, **self.config.build, **fewer}, separators=(",", ":"))
        texts = f" texts {','.join(self.text_names)}" if self.text_names else ""
        return f"{made_of(self.checksum)}index {index}{texts}"

    def check_input(self) -> None:
        if not self.source.rows:
            raise DataError(f"{self.source.path}: there is no item to search")
        if not len(self.queries) or self.queries.shape[1:] != (self.source.dim,):
            raise DataError(f"queries are {self.queries.shape}, expected at least one of dimension {self.source.dim}")
        self.queries = probe_queries(self.spec, self.queries)
        segments = self.config.build.get("segments", 1)
        if self.dim % segments:
            raise ConfigError(
                f"index.segments is {segments}, and collection {self.name!r} holds vectors of {self.dim} numbers: it "
                "must divide them"
            )

    def keep(self) -> IndexReport | None:
        """The collection that is there and passes the checks. One that does not is dropped."""
        if not self.collections.exists(self.name):
            return None
        wanted, found = self.config, self.collections.description(self.name)
        while found != self.description and (denser := self.config.denser):
            self.config = denser
        if found != self.description:
            self.config = wanted
        try:
            return self.verify(reused=True)
        except (IntegrityError, GateError) as problem:
            _log.warning("%s; it is dropped and built anew", problem)
            self.config = wanted
            self.collections.drop(self.name)
            return None

    def make(self) -> IndexReport:
        """Build the collection; one that does not pass the checks is dropped.

        A graph that finds too little is built again, denser: the links of items that share one vector, as all do that
        nobody has clicked yet where they have no features, lead to each other and nowhere else.
        """
        self.fill()
        try:
            return self.verify(reused=False)
        except (IntegrityError, GateError) as problem:
            self.collections.drop(self.name)
            if isinstance(problem, IntegrityError) or not (denser := self.config.denser):
                raise
            _log.warning("%s; it is built again with %s", problem, denser.build)
        self.config = denser
        return self.make()

    def fill(self) -> None:
        """Create the collection, import all rows and ask for the index."""
        rows = self.source.rows
        with self._stage("import"):
            keys = self.spec.id_type == "string"
            fields = [*filter_fields(self.spec), *([TEXT] if self.text_names else [])]
            self.collections.create(
                self.name, self.dim, fields, keys=keys, description=self.description, config=self.config
            )
            # Files hold the towers' vectors; what rules or fewer numbers make of them can only be inserted, like words.
            whole = self.spec.rules is None and self.reduction is None and not self.text_names
            if (reads := self.collections.file_import) and whole:
                self._import(reads)
            else:
                self._insert()
            self.collections.flush(self.name)
        with self._stage("index"):
            self.collections.start_index(self.name, self.config)
            # A graph of 100,000 rows takes seconds on an idle machine; a busy one may take far longer.
            patience = 300.0 + rows / 200
            self.collections.wait_indexed(self.name, rows, patience, lambda ready: self.progress("index", ready, rows))

    def _insert(self) -> None:
        done = 0

        def inserted(count: int) -> None:
            nonlocal done
            done += count
            self.progress("import", done, self.source.rows)

        for batch in self.source.batches():
            rows = stored_batch(self.spec, batch)
            if self.reduction:
                rows = with_vectors(rows, self.reduction.of_items(vectors_of(rows)))
            if self.texts and self.text_names:
                rows = with_texts(rows, self.texts.texts(batch[ITEM_ID].to_numpy(), self.text_names))
            self.collections.insert(self.name, rows, inserted)

    def _import(self, reads: FileImport) -> None:
        rows = self.source.rows
        patience = 600.0 + rows / 1000
        reads(self.name, self.source.files, patience, lambda done: self.progress("import", done, rows))

    def verify(self, *, reused: bool) -> IndexReport:
        """Bring the collection from indexed to warm, checking each step."""
        if (found := self.collections.description(self.name)) != self.description:
            raise IntegrityError(f"collection {self.name!r} holds [{found}], expected [{self.description}]")
        self._count("index", self.collections.indexed_rows(self.name) or 0)
        with self._stage("load"):
            self.collections.load(self.name)
        self._count("count", self.collections.count(self.name))
        effort, refine = self.config.effort, self.config.refine
        searched = SearchedCollection(self.collections, self.name, effort, refine, self.originals, self.asked)
        with self._stage("probe"):
            result = probe(searched, self.source, self.queries)
        if result.recall_at_100 < self.config.minimum_recall:
            raise GateError(
                f"collection {self.name!r}: recall@{result.k} over {result.queries} queries is "
                f"{result.recall_at_100:.4f}, required {self.config.minimum_recall} (index.minimum_recall); "
                f"raise index.effort ({effort}) or build a denser index"
            )
        with self._stage("warm"):
            search_ms = warm(searched, self.queries)
        return IndexReport(
            name=self.name,
            rows=self.source.rows,
            dim=self.dim,
            similarity=self.source.similarity,
            config=self.config,
            texts=self.text_names,
            checksum=self.checksum,
            recall_at_100=result.recall_at_100,
            queries=result.queries,
            search_ms=search_ms,
            reused=reused,
            seconds=self.seconds,
        )

    def _count(self, what: str, rows: int) -> None:
        if rows != self.source.rows:
            raise IntegrityError(f"collection {self.name!r}: {what} gives {rows} rows, the file has {self.source.rows}")

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self.progress(name, 0, self.source.rows)
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 3)
        self.progress(name, self.source.rows, self.source.rows)


def _silent(stage: str, done: int, rows: int) -> None:
    """Report progress to nobody."""
