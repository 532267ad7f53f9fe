"""Which column of anyone's file becomes which of Pagoda's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem, Strict
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.sources.base import SourceReader
from pagoda.data.layout import Table, schema_of
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError

_SINK = Strict()
_WHOLE_NUMBER = r"^(0|-?[1-9]\d{0,17})$"
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

    def find(self, given: list[str], wanted: list[str], file: str) -> dict[str, str]:
        """Name in Pagoda → name in the file, for all `wanted` columns; an absent event is left out.

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
            elif name != "event":
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
    """The type of the interactions' IDs: as the source says it; of text, int64 if the first rows are whole numbers."""
    for part in reader.parts(source):
        used = list(names.find(reader.names(part), ["user_id", "item_id"], str(part)).values())
        types = reader.types(part, used)
        if types is not None:
            return "int64" if all(_is_number(types.field(name).type) for name in used) else "string"
        batch = next(iter(reader.batches(part, used)), None)
        if batch is not None and batch.num_rows:
            return "int64" if all(_numbers(conversion.plain(batch.column(name))) for name in used) else "string"
    return "string"


def _is_number(kind: pa.DataType) -> bool:
    one = kind.value_type if pa.types.is_list(kind) or pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_decimal(one))


def _numbers(keys: pa.Array) -> bool:
    return bool(pa.types.is_string(keys.type) and pc.all(pc.match_substring_regex(keys, _WHOLE_NUMBER)).as_py())
