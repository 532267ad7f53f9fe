"""JSON lines: an object a line, flat or with others inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from pagoda.data.imports.readers.base import Reader
from pagoda.data.imports.readers.json_columns import Keys, TypedColumn
from pagoda.data.imports.readers.refusals import Read, Refusal, Refuse, cut_out, hand_over, raise_refusal, shown
from pagoda.data.imports.readers.text_files import LONGEST_ROW_BYTES, check_encoding, chunks, endings
from pagoda.errors import DataError

_ONE_A_LINE = "JSON lines have one object a line (jq -c . FILE makes them, of an array jq -c '.[]' FILE)"
_FileStamp = tuple[str, int, int]


@dataclass(frozen=True)
class JsonLinesReader(Reader):
    """JSON lines; the values of an object inside are columns called `outer.inner`. Compressed files are unpacked."""

    encoding: str = "utf-8"
    """As Python calls it."""
    suffixes: tuple[str, ...] = endings(".jsonl", ".ndjson", ".json")
    typed: bool = True
    _keys: dict[_FileStamp, Keys] = field(default_factory=dict, compare=False, repr=False)
    """Of files that were looked through: which columns there are says only the whole file."""

    def __post_init__(self) -> None:
        check_encoding(self.encoding)

    def names(self, path: Path) -> list[str]:
        """Names of all values in the file.

        Raises:
            DataError: The file cannot be read, or holds no object.
        """
        return list(self._paths(path))

    def batches(self, path: Path, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns, each of one type: integers, floats, strings, booleans or lists of these."""
        paths = self._paths(path)
        typed = [TypedColumn(name, paths[name]) for name in columns]
        read = (found for lines in self._lines(path) for found in _read(lines, typed))
        yield from hand_over(read, refuse)

    def _paths(self, path: Path) -> dict[str, tuple[str, ...]]:
        """Name → the keys that lead to the value."""
        state = path.stat() if path.exists() else None
        version = (str(path), state.st_mtime_ns if state else 0, state.st_size if state else 0)
        if version not in self._keys:
            keys = Keys()
            for lines in self._lines(path):
                keys.add([row for row in lines.parsed() if isinstance(row, dict)])
            self._keys[version] = keys
        found = self._keys[version].paths(str(path))
        if not found:
            wrong = [read for lines in self._lines(path) for read in _read(lines, []) if isinstance(read, Refusal)]
            raise DataError(str(wrong[0]) if wrong else f"{path}: empty; {_ONE_A_LINE}")
        return found

    def _lines(self, path: Path) -> Iterator[_Lines]:
        with closing(chunks(path, self.encoding)) as text:
            yield from _lines(str(path), text)


@dataclass(frozen=True)
class _Lines:
    """Whole lines."""

    file: str
    text: list[bytes]
    first: int
    """Number of the first one."""

    def parsed(self) -> list[Any]:
        """What each line holds; of one that is no JSON, why."""
        kept = [line for line in self.text if line.strip()]
        try:
            return list(map(orjson.loads, kept))
        except orjson.JSONDecodeError:
            return list(map(_parsed, kept))

    def numbers(self) -> list[int]:
        """Of the lines that hold something."""
        return [number for number, line in enumerate(self.text, self.first) if line.strip()]


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return error


def _lines(file: str, chunks: Iterator[bytes]) -> Iterator[_Lines]:
    rest, number = b"", 1
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if whole:
            yield _Lines(file, whole, number)
        number += len(whole)
        if len(rest) > LONGEST_ROW_BYTES:
            raise_refusal(Refusal(file, f"longer than {LONGEST_ROW_BYTES >> 20} MiB; {_ONE_A_LINE}", number))
    yield _Lines(file, [rest], number)


def _read(lines: _Lines, columns: list[TypedColumn]) -> Iterator[Read]:
    rows = lines.parsed()
    if not rows:
        return
    bad: dict[int, tuple[str | None, str]] = {}
    if set(map(type, rows)) != {dict}:
        bad = {n: (None, _no_object(row)) for n, row in enumerate(rows) if type(row) is not dict}
        rows = [{} if n in bad else row for n, row in enumerate(rows)]
    arrays = []
    for column in columns:
        array, refused = column.read(rows, lines.first)
        arrays.append(array)
        bad |= {n: (column.name, reason) for n, reason in refused.items() if n not in bad}
    batch = pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])
    numbers = lines.numbers() if bad else []
    refusals = {n: Refusal(lines.file, reason, numbers[n], column) for n, (column, reason) in bad.items()}
    yield from cut_out(batch, np.arange(len(rows)), refusals) if bad else [batch]


def _no_object(row: Any) -> str:
    if isinstance(row, orjson.JSONDecodeError):
        return f"not JSON ({row}); {_ONE_A_LINE}"
    return f"{shown(row)} is no object; {_ONE_A_LINE}"
