"""Bulk import: Milvus reads the Parquet files from its own object storage, so that no row passes through a client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from pymilvus import BulkInsertState, utility

from pagoda.errors import ConfigError, UnavailableError
from pagoda.index.milvus.connection import MilvusConnection
from pagoda.storage.copies import copy, delete

_POLL_SECONDS = 0.5
_CALL_SECONDS = 60.0
_FAILED = (BulkInsertState.ImportFailed, BulkInsertState.ImportFailedAndCleaned)


def import_files(
    connection: MilvusConnection,
    name: str,
    files: Sequence[str],
    timeout_seconds: float,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Have Milvus import `files` into collection `name`, side by side, and wait until it has persisted them all.

    It says so before they can be searched (milvus#21091): index, load and count come after this.

    Args:
        connection: To the server.
        name: Physical name of the collection, which exists and is empty.
        files: Names in the server's own storage, from `staged`; one Parquet file is one job.
        timeout_seconds: For all of them.
        progress: Told how many rows are in.

    Raises:
        UnavailableError: A job failed, or they did not end in time; the collection holds a part of them at most.
    """
    deadline = time.monotonic() + timeout_seconds
    with connection.errors("bulk import", name), connection.alias(_CALL_SECONDS) as alias:
        jobs = [utility.do_bulk_insert(name, [file], using=alias, timeout=_CALL_SECONDS) for file in files]
        while True:
            states = [utility.get_bulk_insert_state(job, using=alias, timeout=_CALL_SECONDS) for job in jobs]
            for file, state in zip(files, states, strict=True):
                if state.state in _FAILED:
                    raise UnavailableError(f"bulk import of {file} into {name!r} failed: {state.failed_reason}")
            if progress:
                progress(sum(state.row_count for state in states))
            if all(state.state == BulkInsertState.ImportCompleted for state in states):
                return
            if time.monotonic() > deadline:
                done = sum(state.state == BulkInsertState.ImportCompleted for state in states)
                raise UnavailableError(
                    f"bulk import into {name!r}: {done} of {len(jobs)} files in {timeout_seconds:.0f} s"
                )
            time.sleep(_POLL_SECONDS)


@contextmanager
def staged(files: Sequence[str], imports: str, name: str) -> Iterator[list[str]]:
    """Names of `files` in the server's own storage; what lies elsewhere is copied there, and removed at the end.

    Args:
        files: Paths or URLs.
        imports: `MilvusSettings.imports`: `s3://bucket/folder`, or a folder of the server's machine.
        name: Physical name of the collection; what is copied goes below a folder of that name.

    Raises:
        ConfigError: `imports` is neither.
        UnavailableError: The storage does not answer.
    """
    parts = urlsplit(imports)
    if parts.scheme not in ("s3", "file", ""):
        raise ConfigError(f"milvus.imports {imports!r}: give s3://bucket/folder, or a folder of Milvus' machine")
    root = f"s3://{parts.netloc}/" if parts.scheme == "s3" else ""
    folder = f"{imports.rstrip('/')}/{name}"
    places = [
        file if root and file.startswith(root) else f"{folder}/{number:05}.parquet" for number, file in enumerate(files)
    ]
    copied = [(file, place) for file, place in zip(files, places, strict=True) if file != place]
    try:
        for file, place in copied:
            copy(file, place)
        yield [place.removeprefix(root or "file://") for place in places]
    finally:
        if copied:
            delete(folder)
