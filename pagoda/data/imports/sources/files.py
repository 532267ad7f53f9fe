"""Files as sources, by path or by URI.

What lies elsewhere is copied aside, a file at a time, and read as a file of this machine: every format's reader takes a
file, some of them by looking at its end first, and a broken connection then is a failed copy and no row cut in two.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from pagoda.data.imports.readers.base import Reader, is_of_format, list_files, passed_over
from pagoda.data.imports.readers.refusals import Refusal, Refuse, pass_over, raise_refusal
from pagoda.data.imports.sources.base import SourceReader
from pagoda.data.layout import Table
from pagoda.errors import DataError, IntegrityError
from pagoda.masking import masked
from pagoda.storage.copies import download, listing, local_path


@dataclass(frozen=True)
class RemoteFile:
    """A file elsewhere."""

    uri: str

    def __str__(self) -> str:
        return masked(self.uri)

    @property
    def name(self) -> str:
        """Without folders, and on the web without what follows a question mark."""
        path = urlsplit(self.uri).path if self.uri.startswith(("http://", "https://")) else self.uri
        return path.rsplit("/", 1)[-1] or "file"


class FileSources:
    """Implements `pagoda.data.imports.sources.base.SourceReader` by the reader of a file format."""

    def __init__(self, reader: Reader, spill: Path) -> None:
        """Copies are made in the folder `spill`."""
        self._reader, self._spill = reader, spill
        self._numbers = itertools.count()
        self._brought: dict[RemoteFile, Path] = {}

    def parts(self, source: Path | str) -> Sequence[Path | RemoteFile]:
        """The file, or those below the folder or prefix; hidden ones are none.

        Raises:
            DataError: There is none.
            ConfigError: Nobody here knows the scheme.
            UnavailableError: The store does not answer.
        """
        path = local_path(str(source))
        if path is not None:
            return list_files(path, self._reader)
        uri = str(source).rstrip("/")
        names = _listing(uri)
        if names == [""]:
            return [RemoteFile(uri)]
        found = [name for name in names if self._takes(name)]
        if not found:
            raise DataError(f"{RemoteFile(uri)}: no file that ends in {', '.join(self._reader.suffixes)}")
        return [RemoteFile(f"{uri}/{name}") for name in found]

    def passed_over(self, source: Path | str) -> Sequence[Path | RemoteFile]:
        """Files of the folder or prefix that are of other formats."""
        path = local_path(str(source))
        if path is not None:
            return passed_over(path, self._reader)
        uri = str(source).rstrip("/")
        others = [name for name in _listing(uri) if name and not self._takes(name) and not _hidden(name)]
        return [RemoteFile(f"{uri}/{name}") for name in others if not name.rsplit("/", 1)[-1].startswith("_")]

    def names(self, part: Path | RemoteFile) -> list[str]:
        """Column names."""
        with self._here(part) as path:
            return self._reader.names(path)

    def types(self, part: Path | RemoteFile, columns: list[str]) -> pa.Schema | None:
        """Those of the first rows, of a format that has types."""
        if not self._reader.typed:
            return None
        with self._here(part) as path:
            batch = next(iter(self._reader.batches(path, columns, pass_over)), None)
            return None if batch is None else batch.schema

    def batches(
        self, part: Path | RemoteFile, columns: list[str], refuse: Refuse = raise_refusal
    ) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""

        def refuse_of_original(refusal: Refusal) -> None:
            refuse(replace(refusal, file=str(part)))

        with self._here(part) as path:
            yield from self._reader.batches(path, columns, refuse_of_original)
        if copy := self._brought.pop(part, None) if isinstance(part, RemoteFile) else None:
            copy.unlink()

    def _takes(self, name: str) -> bool:
        return is_of_format(name, self._reader) and not _hidden(name)

    @contextmanager
    def _here(self, part: Path | RemoteFile) -> Iterator[Path]:
        if isinstance(part, Path):
            yield part
            return
        if part not in self._brought:
            self._brought[part] = self._bring(part)
        path = self._brought[part]
        try:
            yield path
        except DataError as error:
            # The reader names its file, which is the copy; only the original means something to anybody.
            raise DataError(str(error).replace(str(path), str(part))) from error

    def _bring(self, file: RemoteFile) -> Path:
        # With its ending, by which readers know how it is compressed.
        path = self._spill / f"source-{next(self._numbers)}" / file.name
        try:
            download(file.uri, path)
        except IntegrityError:
            raise DataError(f"{file}: no such file") from None
        return path


class Readers:
    """Of the tables of one import, as readers of sources."""

    def __init__(self, reader_of: Callable[[Table], Reader | SourceReader], spill: Path) -> None:
        """Readers of file formats also read files by URI, through copies in the folder `spill`."""
        self._reader_of, self.spill = reader_of, spill
        self._known: dict[Table, SourceReader] = {}

    def of(self, table: Table) -> SourceReader:
        """What reads a table."""
        if table not in self._known:
            reader = self._reader_of(table)
            known = FileSources(reader, self.spill / table) if isinstance(reader, Reader) else reader
            self._known[table] = known
        return self._known[table]

    def named(self, table: Table, source: object) -> str:
        """What messages call a source as a whole."""
        parts = self.of(table).parts(source)
        return str(parts[0] if len(parts) == 1 else source)


def _listing(uri: str) -> list[str]:
    try:
        return listing(uri)
    except IntegrityError:
        raise DataError(f"{RemoteFile(uri)}: no such file or folder") from None


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
