"""A new dataset folder: whole or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pagoda.errors import ConflictError, DataError
from pagoda.storage.atomic import build_folder


@contextmanager
def new_dataset(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends well; otherwise nothing remains.

    Raises:
        ConflictError: `path` exists already.
        DataError: The disk is full, or `path` cannot be written.
    """
    try:
        if os.path.lexists(path):
            raise ConflictError(f"{path} exists already and is not overwritten; choose another or remove it first")
        with build_folder(path) as folder:
            yield folder
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(
            f"{path}: could not be written ({reason}: {error.filename or path.parent}); "
            "nothing was kept; make room or choose another disk, then run again"
        ) from error
