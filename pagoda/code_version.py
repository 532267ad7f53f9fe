"""Which code made something: the version of a release does not tell two states of a working tree apart."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import xxhash

from pagoda.distribution import release


@cache
def code_version() -> str:
    """The version of this package and a checksum of its source when first asked: `0.1.0+3f9ae1d204b7c865`.

    A changed comment is other code too: nobody can tell which changes do nothing.
    """
    return f"{release()}+{checksum_source(Path(__file__).parent)}"


def checksum_source(package: Path) -> str:
    """Of the names and contents of all Python files below `package`, wherever it lies."""
    digest = xxhash.xxh3_64()
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    for name in sorted(files):
        content = files[name].read_bytes()
        # With its length, so that no file can pass for the end of the one before it.
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
