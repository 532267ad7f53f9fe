"""A new dataset folder: whole or not there at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from pagoda.data.parquet import first_line
from pagoda.errors import ConflictError, DataError
from pagoda.masking import masked
from pagoda.storage.atomic import build_folder, is_being_built

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/")
"""Of a URI, of whose slashes `Path` keeps one."""


@contextmanager
def new_dataset(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` when the block ends well; otherwise nothing remains.

    Raises:
        ConflictError: `path` exists already, or somebody else is building it.
        DataError: The disk is full, or `path` cannot be written.
    """
    if found := _SCHEME.match(str(path)):
        # With both slashes it can be told where credentials stand, which no message holds.
        uri = masked(f"{found[0]}/{str(path)[found.end() :]}")
        raise DataError(f"{uri}: a dataset is built in a folder of this machine; name one, and copy it when it is done")
    try:
        if os.path.lexists(path):
            raise ConflictError(f"{path} exists already and is not overwritten; choose another or remove it first")
        if is_being_built(path):
            raise ConflictError(f"{path} is being built by another process; wait for it, or choose another folder")
        with build_folder(path) as folder:
            yield folder
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise DataError(
            f"{path}: could not be written ({reason}: {error.filename or path.parent}); "
            "nothing was kept; make room or choose another disk, then run again"
        ) from error
    except (pa.ArrowException, ValueError) as error:
        # A name that is no UTF-8, say.
        raise DataError(f"{path}: could not be written ({first_line(error)}); nothing was kept") from error
