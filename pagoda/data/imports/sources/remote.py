"""Files by URI: copied aside, one at a time, and read as files of this machine.

A copy, since every format's reader takes a file, some of them by mapping it or by seeking in it, and since a broken
connection then is a failed copy and no row cut in two. What is needed beside the new dataset is room for one file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pyarrow as pa

from pagoda.data.imports.readers.base import FileReader, Reader, Refusal, Refuse, is_of_format, raise_refusal
from pagoda.errors import DataError, IntegrityError
from pagoda.masking import masked
from pagoda.storage.copies import download, listing, local_path


def with_remote_files(reader: Reader, spill: Path) -> Reader:
    """A reader of files also reads those by URI, through copies in the folder `spill`; others stay as they are."""
    return RemoteFiles(cast(FileReader, reader), spill) if hasattr(reader, "suffixes") else reader


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


class RemoteFiles:
    """Implements `pagoda.data.imports.readers.Reader` for files by path and by URI."""

    def __init__(self, reader: FileReader, spill: Path) -> None:
        self._reader, self._spill = reader, spill
        self._numbers = itertools.count()
        self._brought: tuple[RemoteFile, Path] | None = None

    def files(self, source: Path | str) -> Sequence[Path | RemoteFile]:
        """The file, or those below the folder or prefix; hidden ones are none.

        Raises:
            DataError: There is none.
            ConfigError: Nobody here knows the scheme.
            UnavailableError: The store does not answer.
        """
        path = local_path(str(source))
        if path is not None:
            return cast(Sequence[Path], self._reader.files(path))
        uri = str(source).rstrip("/")
        shown = RemoteFile(uri)
        try:
            names = listing(uri)
        except IntegrityError:
            raise DataError(f"{shown}: no such file or folder") from None
        if names == [""]:
            return [shown]
        found = [name for name in names if is_of_format(name, self._reader) and not _hidden(name)]
        if not found:
            raise DataError(f"{shown}: no file that ends in {', '.join(self._reader.suffixes)}")
        return [RemoteFile(f"{uri}/{name}") for name in found]

    def types(self, file: Path | RemoteFile) -> pa.Schema | None:
        """What the file says of its columns."""
        with self._here(file) as path:
            return self._reader.types(path)

    def names(self, file: Path | RemoteFile) -> list[str]:
        """Column names."""
        with self._here(file) as path:
            return self._reader.names(path)

    def batches(
        self, file: Path | RemoteFile, columns: list[str], refuse: Refuse = raise_refusal
    ) -> Iterator[pa.RecordBatch]:
        """Stream some columns."""

        def refuse_of_original(refusal: Refusal) -> None:
            refuse(replace(refusal, file=str(file)))

        with self._here(file) as path:
            yield from self._reader.batches(path, columns, refuse_of_original)

    @contextmanager
    def _here(self, file: Path | RemoteFile) -> Iterator[Path]:
        if isinstance(file, Path):
            yield file
            return
        path = self._bring(file)
        try:
            yield path
        except DataError as error:
            # The reader names its file, which is the copy; only the original means something to anybody.
            raise DataError(str(error).replace(str(path), str(file))) from error

    def _bring(self, file: RemoteFile) -> Path:
        """The copy of a file, in place of the last one's."""
        if self._brought is not None:
            known, path = self._brought
            if known == file:
                return path
            path.unlink()
            self._brought = None
        # With its ending, by which readers know how it is compressed.
        path = self._spill / f"source-{next(self._numbers)}" / file.name
        try:
            download(file.uri, path)
        except IntegrityError:
            raise DataError(f"{file}: no such file") from None
        self._brought = (file, path)
        return path


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))
