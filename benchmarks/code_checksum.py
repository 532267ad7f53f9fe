"""What a benchmark's result follows from beside its data: the library's code, and the benchmark's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import xxhash

import pagoda

LEARNING = ("config", "data", "embeddings", "evaluation", "model", "simulation", "training", "version_files")
"""Rooms of the library that what is learned, and how it is asked, follows from."""


@cache
def code_checksum(rooms: tuple[str, ...], further: tuple[Path, ...]) -> str:
    """Checksum of the sources in some rooms of the library and of further files: the same one, the same code."""
    library = Path(pagoda.__file__).parent
    sources = [path for room in rooms for path in sorted((library / room).rglob("*.py"))]
    digest = xxhash.xxh3_64()
    for path in (*sources, *further):
        digest.update(path.read_bytes())
    return digest.hexdigest()
