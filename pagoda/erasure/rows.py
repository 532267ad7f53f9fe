"""The files of a dataset without the rows of some users.

Each file is written aside, flushed and renamed (in an object store: replaced by one request), so that whoever reads it
sees the old file or the new one, and a kill at any moment leaves either. Doing it again changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pagoda.data.ids import whole_number
from pagoda.data.increments import TFRECORD_FOLDER
from pagoda.data.parquet import open_parquet, reading
from pagoda.errors import IntegrityError
from pagoda.storage.atomic import replace_by
from pagoda.storage.copies import download, local_path, sizes, upload

FOLDERS = ("interactions", "users", "refused", TFRECORD_FOLDER)
_USER = "user_id"
Lock = Callable[[str], AbstractContextManager[object]]
"""Keeps all others who erase from the named file: of two who replace it at once, one would bring back what the other
has erased."""


class DatasetRows:
    """The files of one dataset that name users."""

    def __init__(self, dataset: str, lock: Lock) -> None:
        """Of the folder or URL `dataset`."""
        self._url, self._lock = dataset.rstrip("/"), lock

    def names(self) -> list[str]:
        """The files, relative to the dataset."""
        found = [f"{folder}/{name}" for folder in FOLDERS for name in sizes(f"{self._url}/{folder}")]
        return [name for name in found if name.endswith(tuple(_CLEAN)) and "/." not in name]

    def erase(self, users: Collection[str], names: Collection[str] | None = None) -> int:
        """Erase the rows of users from files (default: all); returns how many files had any.

        Raises:
            UnavailableError: The store does not answer.
            DataError: A file is damaged.
        """
        return sum(self._erase(name, users) for name in (self.names() if names is None else names)) if users else 0

    def _erase(self, name: str, users: Collection[str]) -> bool:
        with self._lock(f"{self._url}/{name}"), tempfile.TemporaryDirectory(prefix="pagoda-erasure-") as folder:
            path = local_path(f"{self._url}/{name}")
            there = path or Path(folder) / "file"
            try:
                if path is None:
                    download(f"{self._url}/{name}", there)
                made = Path(folder) / "clean"
                if not _CLEAN[PurePosixPath(name).suffix](there, made, users):
                    return False
            except (FileNotFoundError, IntegrityError):
                return False  # Others have put one file in place of several, and deleted these.
            if path is None:
                upload(made, f"{self._url}/{name}")
            else:
                replace_by(path, made)
            return True


def _rows(path: Path, into: Path, users: Collection[str]) -> bool:
    """Write a Parquet file without the users' rows; False if it has none of them."""
    if not path.exists():
        raise FileNotFoundError(path)
    with reading(path), open_parquet(path) as file:
        gone = _ids(users, file.schema_arrow.field(_USER).type)
        if not any(_is_in(batch.column(0), gone).true_count for batch in file.iter_batches(columns=[_USER])):
            return False
        _write(file, into, gone, {})
        if into.stat().st_size == path.stat().st_size:
            # Copies of a dataset know a file by its name and size.
            _write(file, into, gone, {"erased": ""})
    return True


def _write(file: pq.ParquetFile, into: Path, gone: pa.Array, about: dict[str, str]) -> None:
    schema: pa.Schema = file.schema_arrow
    schema = schema.with_metadata({**(schema.metadata or {}), **about}) if about else schema
    options = {"compression": "zstd", "compression_level": 1, "write_page_checksum": True}
    with pq.ParquetWriter(into, schema, **options) as writer:
        for group in range(file.num_row_groups):
            table: pa.Table = file.read_row_group(group)
            kept = table.filter(pc.invert(_is_in(table.column(_USER), gone)))
            if kept.num_rows:
                writer.write_table(kept.replace_schema_metadata(schema.metadata), kept.num_rows)


def _is_in(column: pa.Array | pa.ChunkedArray, gone: pa.Array) -> pa.Array:
    found = pc.is_in(column, value_set=gone)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _ids(users: Collection[str], kind: pa.DataType) -> pa.Array:
    if pa.types.is_integer(kind):
        return pa.array([number for user in users if (number := whole_number(user)) is not None], kind)
    return pa.array(sorted(users), pa.string()).cast(kind.value_type if pa.types.is_dictionary(kind) else kind)


def _lines(path: Path, into: Path, users: Collection[str]) -> bool:
    """Write a file of JSON lines without the users' lines; False if it has none of them."""
    lines = path.read_bytes().splitlines()
    kept = [line for line in lines if not names_one_of(line, users)]
    into.write_bytes(b"\n".join(kept))
    return len(kept) < len(lines)


def _records(path: Path, into: Path, users: Collection[str]) -> bool:
    """Write a file of TFRecord without the users' records; False if it has none of them."""
    # Not at the top: few datasets have such files, and reading them takes protobuf.
    from pagoda.data.tfrecord.columns import id_in
    from pagoda.data.tfrecord.records import read_records, write_records

    if not path.exists():
        raise FileNotFoundError(path)
    found = False

    def kept() -> Iterator[bytes]:
        nonlocal found
        for record in read_records(path):
            if id_in(record, _USER) in users:
                found = True
            else:
                yield record

    with into.open("wb") as file:
        write_records(kept(), file)
    return found


_CLEAN = {".parquet": _rows, ".jsonl": _lines, ".tfrecord": _records}
"""By the ending of a file's name, what writes it without the users."""


def names_one_of(line: bytes, users: Collection[str]) -> bool:
    """Whether an interaction as JSON is of one of the users."""
    try:
        row = orjson.loads(line)
    except ValueError:
        return any(user.encode() in line for user in users)
    return isinstance(row, dict) and str(row.get(_USER)) in users
