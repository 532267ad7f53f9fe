"""Checksums of files and of whole folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import xxhash

_CHUNK_BYTES = 1 << 20
SHA256 = "sha256:"


def checksum_file(path: Path, like: str = "xxh3:") -> str:
    """Return the checksum of a file's bytes.

    Args:
        path: The file.
        like: A checksum of the same kind, or the beginning of one. `xxh3:` finds damage; `sha256:` also finds what
            somebody made on purpose, so it is for what runs as code.
    """
    kind = like.partition(":")[0]
    digest = hashlib.sha256() if kind == "sha256" else xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


def checksum_tree(folder: Path) -> str:
    """Return one checksum over the relative names and contents of all files below `folder`."""
    digest = xxhash.xxh3_128()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{checksum_file(path)}\n".encode())
    return f"xxh3:{digest.hexdigest()}"
