"""Tables that the session's catalogue knows, Iceberg's and Delta's among them, as a source of an import on Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from pagoda.data.imports.readers.refusals import Refuse, raise_refusal
from pagoda.errors import ConfigError, DataError


@dataclass(frozen=True)
class SparkTables:
    """Implements `pagoda.data.imports.sources.base.SourceReader` for what is asked where an import is started."""

    session: SparkSession

    def parts(self, source: str) -> list[str]:
        """The table.

        Raises:
            DataError: The catalogue has none of this name.
        """
        if not self.session.catalog.tableExists(source):
            raise DataError(f"{source}: the Spark session's catalogue has no such table; see spark.sql.catalog.*")
        return [source]

    def passed_over(self, source: str) -> tuple[()]:
        """Nothing."""
        return ()

    def names(self, part: str) -> list[str]:
        """Column names."""
        return list(self.session.table(part).columns)

    def types(self, part: str, columns: list[str]) -> pa.Schema:
        """As the catalogue says them."""
        schema = to_arrow_schema(self.session.table(part).schema, timezone="UTC")
        return pa.schema([schema.field(name) for name in columns])

    def batches(self, part: str, columns: list[str], refuse: Refuse = raise_refusal) -> Iterator[pa.RecordBatch]:
        """None: its tasks read them.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{part}: tables of Spark's catalogue are read by an import on Spark alone")
