"""What a reader of one file format is, and which files of a folder it reads."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.errors import DataError

_SHARD = re.compile(r"-\d+-of-\d+(?=$|\.gz$)")


class Reader(ABC):
    """One file format. What reads anything else is a `SourceReader`: an import tells them apart by this class."""

    @property
    @abstractmethod
    def suffixes(self) -> tuple[str, ...]:
        """Endings of the names of such files in a folder, in small letters."""

    @property
    @abstractmethod
    def typed(self) -> bool:
        """Whether the files say the types of their columns."""

    @abstractmethod
    def names(self, path: Path) -> list[str]:
        """Column names of a file."""

    @abstractmethod
    def batches(self, path: Path, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns of a file.

        Rows that cannot be read go to `refuse`, each between the batch of the rows before it and that of the rows
        after it; so the file's rows are those of the batches and one for each refusal, in this order.
        """


def list_files(path: Path, reader: Reader) -> list[Path]:
    """`path` itself if it is a file, else the files below it with the format's endings, by name; hidden ones are none.

    Raises:
        DataError: There is none, or the folder cannot be read.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    found = [file for file in _walk(path) if is_of_format(file.name, reader)]
    if not found:
        raise DataError(f"{path}: no file that ends in {', '.join(reader.suffixes)}")
    return found


def passed_over(path: Path, reader: Reader) -> list[Path]:
    """The files of a folder that the reader does not take, but for what other programs leave: `_SUCCESS`, say."""
    if not path.is_dir():
        return []
    return [file for file in _walk(path) if not is_of_format(file.name, reader) and not file.name.startswith("_")]


def is_of_format(name: str, reader: Reader) -> bool:
    """Whether a file of this name is one that the reader takes; a shard has its number behind the ending."""
    return _SHARD.sub("", name.lower()).endswith(reader.suffixes)


def _walk(path: Path) -> list[Path]:
    """The files below a folder by name, hidden ones left out: an editor's copies would be imported beside originals."""
    try:
        # os.walk, since Path.rglob passes over folders that it may not read.
        walk = list(os.walk(path, onerror=_raise))
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error
    files = sorted(Path(folder) / name for folder, _, names in walk for name in names)
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]


def _raise(error: OSError) -> None:
    raise error
