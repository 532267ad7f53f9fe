"""Which column of anyone's file becomes which of Pagoda's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.ids import is_number_type, look_like_numbers
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.readers.refusals import pass_over
from pagoda.data.imports.sources.base import SourceReader
from pagoda.data.layout import Table, schema_of
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError

_SINK = Strict()
_LOOKED_AT = 1_000
"""Rows by which IDs are judged: a batch may be of one, where others that cannot be read stand beside it."""
_WITH_OPTION = ("user_id", "item_id", "timestamp", "title")


@dataclass(frozen=True)
class ColumnNames:
    """Names in the files that differ from those in Pagoda, and columns to leave out."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Name in Pagoda → name in the files. A file that lacks the latter may have the former."""
    drop: frozenset[str] = frozenset()
    drop_others: bool = False
    """Leave out all columns that no feature declares."""

    def check(self, spec: FeatureSpec) -> None:
        """Raise ConfigError if a column is renamed to one that this dataset does not have."""
        known = {name for table in get_args(Table) for name in schema_of(spec, table).names}
        if unknown := sorted(set(self.renamed) - known):
            raise ConfigError(f"column {unknown[0]!r} cannot be read from a file: this dataset has {sorted(known)}")

    def find(
        self, given: list[str], wanted: list[str], file: str, optional: Collection[str] = ("event",)
    ) -> dict[str, str]:
        """Name in Pagoda → name in the file, for all `wanted` columns; those that may be absent are then left out.

        Raises:
            DataError: A column is missing or there twice.
        """
        used = {}
        for name in wanted:
            renamed = self.renamed.get(name, name)
            source = renamed if renamed in given else name
            if given.count(source) > 1:
                _SINK.add(Problem(Kind.EXTRA_COLUMN, file, "the column is there more than once", source))
            if source in given:
                used[name] = source
            elif name not in optional:
                option = f"--{name.removesuffix('_id')}-column" if name in _WITH_OPTION else f"--rename {name}="
                message = f"the column is missing; the file has {given}; if it has another name there, say {option}"
                _SINK.add(Problem(Kind.MISSING_COLUMN, file, message, renamed))
        return used

    def left_over(self, given: list[str], used: dict[str, str], beside: list[str]) -> list[str]:
        """Columns of the file that are neither used, nor read `beside` these, nor to be dropped."""
        return [name for name in given if name not in {*used.values(), *beside, *self.drop}]


def guess_id_type(
    source: Any, reader: SourceReader, names: ColumnNames, conversion: Conversion
) -> Literal["int64", "string"]:
    """The type of the interactions' IDs: as the source says it; of text, int64 if the first rows are whole numbers.

    Rows that cannot be read say nothing: the import itself counts them, or stops at the first.
    """
    for part in reader.parts(source):
        used = list(names.find(reader.names(part), ["user_id", "item_id"], str(part)).values())
        types = reader.types(part, used)
        if types is not None:
            return "int64" if all(is_number_type(types.field(name).type) for name in used) else "string"
        looked_at = 0
        for batch in reader.batches(part, used, pass_over):
            if not all(look_like_numbers(conversion.plain(batch.column(name))) for name in used):
                return "string"
            looked_at += batch.num_rows
            if looked_at >= _LOOKED_AT:
                break
        if looked_at:
            return "int64"
    return "string"
