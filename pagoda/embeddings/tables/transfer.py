"""Copies from a folder or object store, as whole files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fsspec

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.storage.stores import is_of_a_store


def fetch(source: str, names: Iterable[str], folder: Path) -> None:
    """Copy files `names` below `source`, a path or fsspec URL, into `folder`.

    Raises:
        IntegrityError: The source lacks a file.
        UnavailableError: The source cannot be read or the copy not written.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(source)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            filesystem.get_file(f"{root}/{name}", str(folder / name))
    except FileNotFoundError as error:
        raise IntegrityError(f"{source}: lacks {name} ({error})") from error
    except Exception as error:
        if not isinstance(error, OSError | ValueError | ImportError) and not is_of_a_store(error):
            raise
        raise UnavailableError(f"{source}: cannot be copied to {folder}: {error}") from error
