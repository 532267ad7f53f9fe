"""Objects of other libraries that give Arrow data, as a source.

Whatever has `__arrow_c_stream__` (Arrow's PyCapsule interface,
https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html): a table or a stream of pyarrow, a relation
of DuckDB, a data frame of Polars, or of pandas from 2.2 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import pyarrow as pa

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.data.parquet import first_line
from pagoda.errors import ConfigError, DataError


@runtime_checkable
class ArrowStream(Protocol):
    """An object that gives Arrow data."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule with the stream."""


class _Opened:
    """The stream of one object, which may be one that gives it only once."""

    def __init__(self, source: ArrowStream, name: str) -> None:
        self.stream = pa.RecordBatchReader.from_stream(source)
        self._name = name

    def __str__(self) -> str:
        return self._name


class ArrowReader:
    """Implements `pagoda.data.imports.sources.base.SourceReader`; a source is an `ArrowStream`."""

    def __init__(self, name: str = "Arrow data") -> None:
        """Messages call sources by `name` and their number."""
        self._name = name
        self._opened: dict[int, tuple[ArrowStream, _Opened]] = {}

    def parts(self, source: ArrowStream) -> list[_Opened]:
        """The stream, opened once.

        Raises:
            ConfigError: The object gives none.
        """
        if not isinstance(source, ArrowStream):
            raise ConfigError(
                f"{type(source).__name__}: no Arrow data; give what has __arrow_c_stream__, such as a table of "
                "pyarrow, a relation of DuckDB, or a data frame of Polars or pandas (2.2 or newer)"
            )
        if id(source) not in self._opened:
            # The object is kept beside its stream, so that its number stays its own.
            self._opened[id(source)] = source, _Opened(source, f"{self._name} {len(self._opened) + 1}")
        return [self._opened[id(source)][1]]

    def passed_over(self, source: ArrowStream) -> tuple[()]:
        """Nothing."""
        return ()

    def types(self, part: _Opened, columns: list[str]) -> pa.Schema:
        """As the stream says them."""
        return plain_schema(pa.schema([part.stream.schema.field(name) for name in columns]))

    def names(self, part: _Opened) -> list[str]:
        """Column names."""
        names: list[str] = part.stream.schema.names
        return names

    def batches(self, part: _Opened, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """Stream some columns, once."""
        try:
            for batch in part.stream:
                yield plain(batch.select(columns))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{part}: {first_line(error)}") from error


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch whose columns are of types that every cast knows: Polars has views of strings, others large lists."""
    arrays = [column.cast(_known(column.type)) for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `plain` batches."""
    return pa.schema([field.with_type(_known(field.type)) for field in schema])


def _known(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_list(kind) or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.list_(_known(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_known(kind.value_type))
    return kind
