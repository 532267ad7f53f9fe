"""Pagoda's own backends over a world, as jobs ask them: with filters by a number."""

from __future__ import annotations

import os
from math import sqrt
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.index.libraries import Searching
from benchmarks.index.world import DIM, IndexedWorld, K
from pagoda.data.spec import FeatureSpec, Numeric
from pagoda.index.base import Collections
from pagoda.index.plan import REFINE
from pagoda.index.sizes import item_bytes
from pagoda.item_vectors.fields import filter_fields
from pagoda.item_vectors.filter import EVERYTHING, Filter
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.item_vectors.vectors_by_id import IDS_FILE, VECTORS_FILE, VectorsById
from pagoda.settings import CollectionConfig
from pagoda.settings.index import Kind

NAME = "bench"
SPEC = FeatureSpec(features=(Numeric(name="draw", tower="item", edges=(0.5,), filterable=True),))
MILVUS = "PAGODA_BENCH_MILVUS"
"""Address of a Milvus server."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_BATCH = 16_384
_GRAPH, _LISTS = (128, 256, 512, 1024), (8, 16, 32, 64, 128, 256)


class MeasuredBackend(Searching):
    """A collection of a backend; its effort is what it makes of the setting by itself."""

    filters = True
    collections: Collections
    wanted: Filter = EVERYTHING

    def __init__(self, scratch: Path, kind: Kind, items: int, refine: int) -> None:
        """Of a kind, with as many lists as are advised for so many items."""
        super().__init__(scratch)
        lists = {"nlist": round(4 * sqrt(items))} if kind.startswith("IVF") else {}
        segments = {"segments": DIM // 4} if kind == "IVF_PQ" else {}
        self.config = CollectionConfig(kind=kind, refine=refine, **lists, **segments)
        self.kind, self.refine, self.efforts = kind, refine, _LISTS if lists else _GRAPH

    def build(self, world: IndexedWorld) -> None:
        """Build the index."""
        made, rows = self.collections, len(world.vectors)
        made.drop(NAME)
        made.create(NAME, DIM, filter_fields(SPEC), keys=False, description="bench")
        for start in range(0, rows, _BATCH):
            part = slice(start, start + _BATCH)
            items = pa.table({"item_id": np.arange(rows)[part], "draw": world.draws[part]})
            made.insert(NAME, vectors_batch(SPEC, items, world.vectors[part]))
        made.flush(NAME)
        made.start_index(NAME, self.config)
        made.wait_indexed(NAME, rows, 3600.0)
        made.load(NAME)

    def keep(self, share: float, world: IndexedWorld) -> None:
        """From now on answer from this share of the items alone."""
        self.wanted = FilterParser(SPEC).parse({"draw": {"lt": share}}) if share < 1 else EVERYTHING

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        return self.collections.search(NAME, query[None], K, effort=effort, wanted=self.wanted)[0].ids

    def close(self) -> None:
        """The end."""
        self.collections.drop(NAME)
        self.collections.close()


class Ours(MeasuredBackend):
    """In process."""

    def __init__(self, scratch: Path, kind: Kind, items: int) -> None:
        """In a folder."""
        from pagoda.index.in_process.collections import FolderCollections

        super().__init__(scratch, kind, items, REFINE.get(kind, 1))
        # As recall looks for changes, not at each search.
        self.collections = FolderCollections(scratch, 0.25, self.config.refine)


class OverMilvus(MeasuredBackend):
    """On the server whose address the environment has."""

    def __init__(self, scratch: Path, kind: Kind, items: int) -> None:
        """On the server."""
        from pagoda.index.milvus.collections import MilvusCollections

        super().__init__(scratch, kind, items, REFINE.get(kind, 1))
        self.collections = MilvusCollections(os.environ[MILVUS])

    def build(self, world: IndexedWorld) -> None:
        """Build the index, and what scores again by the vectors."""
        super().build(world)
        ids, vectors = self.scratch / IDS_FILE, self.scratch / VECTORS_FILE
        np.save(ids, np.arange(len(world.vectors)))
        np.save(vectors, np.asarray(world.vectors, np.float16))
        self.originals = VectorsById(ids, vectors)

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K, by codes and then by vectors, as recall does."""
        if self.refine == 1:
            return super().search(query, effort)
        asked = {"effort": effort, "wanted": self.wanted}
        (found,) = self.collections.search(NAME, query[None], self.refine * K, **asked)
        return found.ids[self.originals.best(query, found.ids, found.scores, K)[0]]

    def stored_bytes(self) -> int:
        """Reckoned: what the server has beside them is no part of the collection."""
        each = item_bytes("milvus", self.config, DIM)
        return round(self.collections.count(NAME) * (each.in_memory + each.mapped))
