"""Memory that a generation needs beside the one that serves."""

from __future__ import annotations

from pagoda.registry.manifest import Manifest

_BYTES = 4
_LINKS = 2 * 16
"""Neighbours of a vector on HNSW's lowest level, with M = 16."""
_OVERHEAD = 1.3


def collection_bytes(manifest: Manifest) -> int:
    """Memory of a loaded HNSW collection: vectors, links of the graph, and a third on top."""
    return int(manifest.item_count * (manifest.dim + _LINKS + 2) * _BYTES * _OVERHEAD)
