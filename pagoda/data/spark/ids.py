"""IDs of an import on Spark: what comes twice, shares a hash or is unknown, and the tables that follow from a log."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.types import LongType

from pagoda.data.checks.id_ledger import IdPlace, id_problem
from pagoda.data.checks.problems import Kind, Strict
from pagoda.data.ids import hash_ids
from pagoda.data.imports.job import Import
from pagoda.data.spark.reading import PART, ROW, ReadTable

ID, HASH = "#id", "#hash"
_PLACE = "#place"


def _hashed(keys: pd.Series) -> pd.Series:
    return pd.Series(hash_ids(pa.array(keys, pa.string())))


xxh3 = F.pandas_udf(_hashed, LongType())
"""Pagoda's hash of string IDs. Spark's own `xxhash64` is XXH64 with another seed: another function."""


@dataclass(frozen=True)
class Ids:
    """The IDs of one column."""

    column: str
    """As messages call it."""
    tables: list[tuple[ReadTable, str]]
    """Where they are, and what the column is called there; a table of users or items before the log."""

    @classmethod
    def of(cls, job: Import, column: str, *tables: ReadTable | None) -> Ids:
        """Those of `column` in the tables that there are."""
        return cls(job.names.renamed.get(column, column), [(one, column) for one in tables if one is not None])

    def refuse_twice(self) -> None:
        """Raise DataError if an ID comes twice in the first table."""
        self._refuse(Kind.DUPLICATE, self._places(0), ID)

    def refuse_shared_hashes(self, hashed: DataFrame) -> None:
        """Raise DataError if two of `hashed` (of `distinct`) have one hash."""
        self._refuse(Kind.COLLISION, hashed, HASH)

    def distinct(self, *, strings: bool) -> DataFrame:
        """Each ID once, with its first place and its 64-bit form."""
        places = self._places(0)
        for number in range(1, len(self.tables)):
            places = places.unionByName(self._places(number))
        firsts = places.groupBy(ID).agg(F.min(_PLACE).alias(_PLACE))
        return firsts.withColumn(HASH, xxh3(F.col(ID)) if strings else F.col(ID))

    def _places(self, number: int) -> DataFrame:
        table, column = self.tables[number]
        place = F.struct(F.lit(number).alias("table"), F.col(PART).alias("part"), F.col(ROW).alias("row"))
        return table.rows.select(F.col(column).alias(ID), place.alias(_PLACE))

    def _refuse(self, kind: Kind, places: DataFrame, same: str) -> None:
        one = F.struct(F.col(_PLACE), F.col(ID))
        met = places.groupBy(same).agg(F.count(ID).alias("times"), F.min(one).alias("first"), F.max(one).alias("last"))
        for pair in met.where("times > 1").orderBy("last").head(1):
            first, last = (self._named(found) for found in (pair["first"], pair["last"]))
            Strict().add(id_problem(kind, self.column, first, last))

    def _named(self, found: tuple[tuple[int, int, int], int | str]) -> IdPlace:
        (number, part, row), key = found
        parts = self.tables[number][0].parts
        return IdPlace(key, parts[min(part, len(parts) - 1)], row)


def first_unknown(log: ReadTable, items: ReadTable) -> IdPlace | None:
    """The first interaction whose item is not in `items`."""
    unknown = log.rows.join(items.rows.select("item_id"), "item_id", "left_anti")
    for row in unknown.orderBy(PART, ROW).select("item_id", PART, ROW).head(1):
        return IdPlace(row[0], log.parts[min(row[1], len(log.parts) - 1)], row[2])
    return None
