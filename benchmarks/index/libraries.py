"""Search libraries as their own documentation builds and asks them, one query at a time.

Graphs have 32 links a node and 200 candidates while they are built, as Pagoda's default has.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.index.world import DIM, IndexedWorld, K

_LINKS, _CANDIDATES, _THREADS = 16, 200, 2
_EFFORTS = (100, 128, 160, 200, 256, 320, 400, 512, 640, 800, 1024, 1536, 2048, 4096, 8192)


class Searching:
    """What is built of a world and then asked."""

    kind = "HNSW"
    refine = 1
    """How many times what is wanted it looks for, before vectors say which are best."""
    filters = False
    """Whether it takes a filter."""
    efforts: tuple[Any, ...] = _EFFORTS

    def __init__(self, scratch: Path) -> None:
        """With a folder of its own."""
        self.scratch = scratch
        self.index: Any = None

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        raise NotImplementedError

    def stored_bytes(self) -> int:
        """Size of what it is written into."""
        return sum(path.stat().st_size for path in self.scratch.rglob("*") if path.is_file())

    def keep(self, share: float, world: IndexedWorld) -> None:
        """From now on answer from this share of the items alone."""

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        raise NotImplementedError

    def close(self) -> None:
        """The end."""


class Faiss(Searching):
    """HNSW with bitmaps."""

    filters = True

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import faiss

        self.faiss = faiss
        self.bits: NDArray[np.uint8] | None = None
        faiss.omp_set_num_threads(_THREADS)
        self.index = faiss.IndexHNSWFlat(DIM, _LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = _CANDIDATES
        self.index.add(np.asarray(world.vectors))
        faiss.write_index(self.index, str(self.scratch / "index"))

    def keep(self, share: float, world: IndexedWorld) -> None:
        """From now on answer from this share of the items alone."""
        self.bits = np.packbits(world.draws < share, bitorder="little") if share < 1 else None

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        selector = None if self.bits is None else self.faiss.IDSelectorBitmap(self.bits)
        params = self.faiss.SearchParametersHNSW(efSearch=effort, sel=selector)
        found = self.index.search(query[None], K, params=params)[1][0]
        return found[found >= 0]


class Usearch(Searching):
    """HNSW; no filter from Python."""

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        from usearch.index import Index

        self.index = Index(
            ndim=DIM,
            metric="ip",
            dtype="f32",
            connectivity=_LINKS,
            expansion_add=_CANDIDATES,
        )
        self.index.add(np.arange(len(world.vectors)), np.asarray(world.vectors), threads=_THREADS)
        self.index.save(str(self.scratch / "index"))

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        self.index.expansion_search = effort
        return self.index.search(query, K, threads=1).keys.astype(np.int64)


class Voyager(Searching):
    """HNSW; no filter."""

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import voyager

        self.index = voyager.Index(voyager.Space.InnerProduct, DIM, M=_LINKS, ef_construction=_CANDIDATES)
        self.index.add_items(np.array(world.vectors), num_threads=_THREADS)
        self.index.save(str(self.scratch / "index"))

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        return self.index.query(query, K, query_ef=effort)[0].astype(np.int64)


class Vsag(Searching):
    """HGraph: a graph of scalar-quantised vectors, the best of which are compared again exactly."""

    kind = "HGraph, sq8 and fp32"

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import pyvsag

        graph = {"max_degree": 2 * _LINKS, "ef_construction": _CANDIDATES, "build_thread_count": _THREADS}
        exact = {"base_quantization_type": "sq8_uniform", "use_reorder": True, "precise_quantization_type": "fp32"}
        params = {"dtype": "float32", "metric_type": "ip", "dim": DIM, "index_param": graph | exact}
        self.index = pyvsag.Index("hgraph", json.dumps(params))
        count = len(world.vectors)
        self.index.build(vectors=np.array(world.vectors), ids=np.arange(count), num_elements=count, dim=DIM)
        self.index.save(str(self.scratch / "index"))
        self.params = {effort: json.dumps({"hgraph": {"ef_search": effort}}) for effort in self.efforts}

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        return np.asarray(self.index.knn_search(vector=query, k=K, parameters=self.params[effort])[0], np.int64)


class Svs(Searching):
    """Vamana without LVQ, which is for Intel's processors alone."""

    kind = "Vamana"

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import svs

        params = svs.VamanaBuildParameters(graph_max_degree=2 * _LINKS, window_size=_CANDIDATES, alpha=0.95)
        self.index = svs.Vamana.build(params, np.array(world.vectors), svs.DistanceType.MIP, num_threads=_THREADS)
        self.index.num_threads = 1
        self.index.save(*(str(self.scratch / part) for part in ("config", "graph", "data")))

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        self.index.search_window_size = effort
        return self.index.search(query[None], K)[0][0].astype(np.int64)


class Ngt(Searching):
    """NGT's graph; its faster QG is quantised by a program that the wheel does not have."""

    kind = "ANNG"
    efforts = tuple(0.02 * step for step in range(16))

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import ngtpy

        path = str(self.scratch / "index")
        ngtpy.create(path, DIM, distance_type="L2", edge_size_for_creation=2 * _LINKS)
        self.index = ngtpy.Index(path)
        self.index.batch_insert(np.asarray(world.vectors), num_threads=_THREADS)
        self.index.save()

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        return np.asarray(self.index.search(query, K, effort, with_distance=False), np.int64)


class Scann(Searching):
    """Leaves of a tree, scored by four-bit codes; the best are compared again exactly."""

    kind = "tree-AH"
    efforts = tuple((leaves, again) for leaves in (20, 40, 80, 120, 200, 400) for again in (200, 400, 800))

    def build(self, world: IndexedWorld) -> None:
        """Build the index, with two threads."""
        import scann

        count = len(world.vectors)
        builder = scann.scann_ops_pybind.builder(np.asarray(world.vectors), K, "dot_product").set_n_training_threads(2)
        builder = builder.tree(num_leaves=int(2 * count**0.5), num_leaves_to_search=40, training_sample_size=250_000)
        self.index = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(4 * K).build()
        self.index.serialize(str(self.scratch))

    def search(self, query: NDArray[np.float32], effort: Any) -> NDArray[np.int64]:
        """The numbers of the best K."""
        leaves, again = effort
        found = self.index.search(query, K, pre_reorder_num_neighbors=again, leaves_to_search=leaves)[0]
        return np.asarray(found, np.int64)


LIBRARIES: dict[str, Callable[[Path], Searching]] = {
    "faiss": Faiss,
    "usearch": Usearch,
    "voyager": Voyager,
    "pyvsag": Vsag,
    "scalable-vs": Svs,
    "ngt": Ngt,
    "scann": Scann,
}
