"""What a folder holds, file by file, so that a copy of all or some of it can be verified."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xxhash

from pagoda.errors import IntegrityError
from pagoda.storage.checksums import checksum_file

Inventory = Mapping[str, str]
"""Relative POSIX path of a file -> its checksum `xxh3:…`."""


def take_inventory(folder: Path) -> dict[str, str]:
    """The checksum of every file below `folder`, sorted by name.

    Raises:
        IntegrityError: `folder` is no folder or holds no file.
    """
    files = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())
    if not files:
        raise IntegrityError(f"{folder}: expected a folder with the files of a version, found none")
    return {name: checksum_file(path) for name, path in files}


def checksum_of(files: Inventory) -> str:
    """One checksum over names and contents; equal to `pagoda.storage.checksums.checksum_tree` of the same folder."""
    digest = xxhash.xxh3_128()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name]}\n".encode())
    return f"xxh3:{digest.hexdigest()}"


def select(files: Inventory, parts: tuple[str, ...]) -> dict[str, str]:
    """The files that are one of `parts` or below one of them.

    Raises:
        IntegrityError: A part has no file.
    """
    chosen = {}
    for part in parts:
        found = {name: sum_ for name, sum_ in files.items() if name == part or name.startswith(f"{part}/")}
        if not found:
            raise IntegrityError(f"{part!r} is not among the files {sorted(files)}")
        chosen.update(found)
    return chosen


def verify(folder: Path, files: Inventory) -> None:
    """Compare the files below `folder` with the inventory; further files do not matter.

    Raises:
        IntegrityError: A file is missing or differs; the message names it and both checksums.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise IntegrityError(f"{path} is missing")
        if (found := checksum_file(path)) != expected:
            raise IntegrityError(f"{path} is damaged: its checksum is {found}, the registry says {expected}")
