"""A dataset in an object store, as a folder of this machine."""

from __future__ import annotations

import uuid
from pathlib import Path

import xxhash

from pagoda.errors import DataError
from pagoda.registry.artifacts import download, local_path, sizes


def local_dataset(dataset: str, scratch: Path) -> Path:
    """The folder of `dataset`, copied below `scratch` if it is an object store's.

    Only what is new is copied: files of a dataset are written once, so one of the same name and size is the same.

    Args:
        dataset: A folder or a URL.
        scratch: A folder of this machine alone.

    Raises:
        DataError: There is no file at `dataset`.
        UnavailableError: The store does not answer, or the disk is full.
    """
    place = local_path(dataset)
    if place is not None:
        return place
    folder = scratch / xxhash.xxh3_64_hexdigest(dataset.encode())
    wanted = sizes(dataset)
    if not wanted:
        raise DataError(f"{dataset}: there is no dataset")
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, size in wanted.items():
        _copy(f"{dataset.rstrip('/')}/{name}", folder / name, size)
    return folder


def _copy(uri: str, path: Path, size: int) -> None:
    if path.is_file() and path.stat().st_size == size:
        return
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        download(uri, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
