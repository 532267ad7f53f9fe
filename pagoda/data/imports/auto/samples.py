"""The beginning of a file, and the form that it seems to have: format, encoding, delimiter, header."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.data.imports.auto.csv_form import delimiter_of, quote_of, rows_of
from pagoda.data.imports.readers.csv_header import seems_header
from pagoda.data.parquet import reading
from pagoda.errors import DataError

SAMPLE_BYTES = 2 << 20
SAMPLE_ROWS = 20_000
_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Sample:
    """What was seen of a file."""

    path: Path
    format: str
    """The verb of `pagoda data import` that reads it."""
    table: pa.Table
    """The first rows; text where the file says no types, null where it is empty."""
    content: bytes
    """The same as in the file, unpacked; of Parquet nothing."""
    whole: bool
    """Whether that is the whole file."""
    delimiter: str = ","
    encoding: str = "utf-8"
    header: bool = True
    quote: str | None = '"'

    @property
    def names(self) -> list[str]:
        """Its columns."""
        names: list[str] = self.table.column_names
        return names

    def copy(self, folder: Path) -> Path:
        """Write it below `folder`, as a file of its own."""
        path = folder / f"sample.{self.format}"
        if self.format == "parquet":
            pq.write_table(self.table, path)
        else:
            path.write_bytes(self.content)
        return path


def read_sample(path: Path) -> Sample:
    """Read the beginning of a file.

    Raises:
        DataError: It cannot be read, or holds no row.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(_PARQUET))
        if packed == _PARQUET:
            return _parquet(path)
        with pa.input_stream(str(path), compression="detect") as stream:
            content = stream.read(SAMPLE_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    whole = len(content) <= SAMPLE_BYTES
    if not whole:
        content = content[: _last_end(content[:SAMPLE_BYTES])]
    text, encoding = _decoded(content)
    lines = [line for line in StringIO(text, newline="") if line.strip()]
    if not lines:
        raise DataError(f"{path}: there is no line in it")
    if lines[0].lstrip().startswith("["):
        raise DataError(f"{path}: one JSON array; imports read JSON lines, which jq -c '.[]' {path} makes of it")
    if lines[0].lstrip().startswith("{"):
        return Sample(path, "jsonl", _json_lines(path, lines), content, whole, encoding=encoding)
    return _csv(path, text, content, whole, encoding)


def _last_end(content: bytes) -> int:
    """Where the last whole line ends, by lines as files have them: `str.splitlines` knows other ends, which may stand
    inside values."""
    if not content.startswith(b"\xff\xfe"):
        return content.rfind(b"\n") + 1
    found = content.rfind(b"\n\0")
    while found % 2 and found > 0:  # Half of one character and half of another.
        found = content.rfind(b"\n\0", 0, found)
    return found + 2


def _parquet(path: Path) -> Sample:
    with reading(path), pq.ParquetFile(path) as file:
        batches = file.iter_batches(SAMPLE_ROWS)
        table = pa.Table.from_batches([next(batches)]) if file.metadata.num_rows else file.schema_arrow.empty_table()
        return Sample(path, "parquet", _plain(table), b"", file.metadata.num_rows <= SAMPLE_ROWS)


def _plain(table: pa.Table) -> pa.Table:
    """Text as plain strings, whatever its encoding: Polars writes large ones, pandas has categories."""
    for place, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        kind = pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
        if kind != field.type:
            table = table.set_column(place, field.name, table[place].cast(kind))
    return table


def _decoded(content: bytes) -> tuple[str, str]:
    """The text and its encoding: UTF-8 if it is, else Latin-1, in which any byte is a letter."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace"), "utf-16"
    try:
        return content.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"


def _json_lines(path: Path, lines: list[str]) -> pa.Table:
    looked_at = lines[:SAMPLE_ROWS]
    rows = [dict(_flat(row)) for row in map(_object, looked_at) if row is not None]
    if len(rows) < len(looked_at) / 2:
        raise DataError(f"{path}: looks like JSON lines, and {len(looked_at) - len(rows):,} lines are no object")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if one is None else json.dumps(one) for one in values], pa.string())
    return pa.table(columns)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _flat(row: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Values of objects inside others by both names, as imports call them."""
    for key, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _csv(path: Path, text: str, content: bytes, whole: bool, encoding: str) -> Sample:
    delimiter = delimiter_of(text)
    quote = quote_of(text, delimiter)
    rows = [row for row in rows_of(text, delimiter, SAMPLE_ROWS, quote) if row]
    width = len(rows[0])
    ((usual, count),) = Counter(map(len, rows)).most_common(1)
    if width != usual and count > len(rows) / 2:
        first = delimiter.join(rows[0])[:80]
        raise DataError(
            f"{path}: the first line has {width} values and most others have {usual}: {first!r}; if it is a remark, "
            "remove it (tail -n +2)"
        )
    header = seems_header(rows[0], rows[1:])
    names = rows[0] if header else [f"column_{number}" for number in range(1, width + 1)]
    whole_rows = [row for row in rows[header:] if len(row) == width]
    if not whole_rows:
        raise DataError(f"{path}: there is a line of column names {names} and no row")
    columns = {
        name: pa.array([value or None for value in values], pa.string())
        for name, values in zip(names, zip(*whole_rows, strict=True), strict=True)
    }
    return Sample(path, "csv", pa.table(columns), content, whole, delimiter, encoding, header, quote)
