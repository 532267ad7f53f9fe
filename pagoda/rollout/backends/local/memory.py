"""Memory that a generation needs beside the one that serves."""

from __future__ import annotations

from pagoda.generations.manifest import Manifest
from pagoda.rollout.backends.shelving import Shelf, missing_collection
from pagoda.settings import CollectionConfig
from pagoda.settings.index import CODED

_BYTES = 4
_OVERHEAD = 1.3


def collection_bytes(manifest: Manifest, index: CollectionConfig) -> int:
    """Memory of a loaded collection: vectors or codes, neighbours on the graph's lowest level, and a third on top.

    The vectors beside codes stay in their file, in process; of Milvus' kinds of codes there are none.
    """
    vector = manifest.dim if index.kind in CODED else _BYTES * manifest.dim
    if index.kind == "IVF_PQ":
        vector = index.segments
    links = 2 * index.m if index.kind.startswith("HNSW") else 0
    return int(manifest.item_count * (vector + (links + 2) * _BYTES) * _OVERHEAD)


def unloaded_collection(shelf: Shelf, manifest: Manifest, index: CollectionConfig) -> list[str]:
    """As `missing_collection`; of a collection that is there, it says what loading it takes.

    Raises:
        UnavailableError: The index does not answer.
    """
    missing = missing_collection(shelf, manifest)
    if not missing or not shelf.exists(manifest.collection):
        return missing
    need = collection_bytes(manifest, index) / (1 << 20)
    return [f"{sentence}; loading it takes about {need:.0f} MiB of Milvus memory" for sentence in missing]
