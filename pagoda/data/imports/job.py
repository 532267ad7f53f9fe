"""What an import is told, whatever engine does it, and the declaration that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pagoda.data.checks.names import refuse_names
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import UnknownItems
from pagoda.data.imports.columns import ColumnNames, guess_id_type
from pagoda.data.imports.readers import Reader
from pagoda.data.imports.rows.rules import RowRules
from pagoda.data.imports.sources.base import SourceReader
from pagoda.data.imports.sources.files import Readers
from pagoda.data.layout import FEATURES_FILE, Table, schema_of
from pagoda.data.sorting.external_sort import BUDGET_BYTES
from pagoda.data.spec import EVENTS, FeatureSpec, read_spec
from pagoda.errors import ConfigError

_LIKE = "like"


@dataclass(frozen=True)
class Import:
    """What to import, and how its columns are to be understood."""

    reader: Reader | SourceReader
    interactions: Any
    """What `reader` reads: for a file format a path, or a URI that fsspec knows."""
    users: Any | None = None
    """None: the users of the interactions."""
    items: Any | None = None
    """None: the items of the interactions."""
    features: Path | None = None
    """None: IDs only; other columns are left out."""
    names: ColumnNames = field(default_factory=ColumnNames)
    conversion: Conversion = field(default_factory=Conversion)
    default_event: str = "click"
    """Of interactions in files without an event column."""
    id_type: Literal["int64", "string"] | None = None
    """None: what the first rows look like. A feature file says it itself."""
    rules: RowRules = field(default_factory=RowRules)
    """Which rows are taken, and what becomes of them."""
    readers: Mapping[Table, Reader | SourceReader] = field(default_factory=dict)
    """Of tables that are of another form."""
    keep_order: bool = False
    """Whether rows of one user's moment happened in the order of the files: see `pagoda.data.imports.order`."""
    budget_bytes: int = BUDGET_BYTES
    """Rows held in memory before they are sorted and spilled into the folder that is being built."""

    def reader_of(self, table: Table) -> Reader | SourceReader:
        """What reads a table."""
        return self.readers.get(table, self.reader)

    def source(self, table: Table) -> Any | None:
        """What a table is made of."""
        return {"interactions": self.interactions, "users": self.users, "items": self.items}[table]


def declaration(job: Import, readers: Readers) -> FeatureSpec:
    """The feature file, or without one: IDs, and the items' title if its column was named."""
    if job.features is None:
        title = "title" if "title" in {**job.names.renamed, **job.rules.items_from_log} else None
        id_type = job.id_type or guess_id_type(job.interactions, readers.of("interactions"), job.names, job.conversion)
        spec = FeatureSpec(id_type=id_type, title=title, positives=_positives(job, readers))
    elif job.id_type is not None:
        raise ConfigError(f"the ID type is declared in {job.features} as id_type; leave the option out")
    else:
        spec = read_spec(job.features)
    refuse_names(spec, str(job.features or "options"))
    job.names.check(spec)
    _check_tables(job, spec)
    for event in (job.default_event, *filter(None, job.rules.events.values())):
        if event not in spec.known_events:
            raise ConfigError(
                f"event {event!r} is none of {sorted(spec.known_events)}; declare it as `events` in {FEATURES_FILE}"
            )
    return spec


def _check_tables(job: Import, spec: FeatureSpec) -> None:
    """Every column of users and items comes from somewhere, and from one place."""
    from_log = job.rules.items_from_log
    if from_log and job.items is not None:
        raise ConfigError("--items and --items-from-log contradict each other; choose one")
    if not from_log and job.rules.unknown_items is UnknownItems.MAKE and job.items is None:
        raise ConfigError("--unknown-items make needs --items; without, all items are made of the interactions")
    for table in ("users", "items"):
        others = schema_of(spec, table).names[1:]
        if others and job.source(table) is None and not (table == "items" and from_log):
            hint = ", or their columns in the interactions with --items-from-log" if table == "items" else ""
            raise ConfigError(f"columns {others} come from the {table} files: name them with --{table}{hint}")
    columns = schema_of(spec, "items").names[1:]
    if from_log and (wrong := sorted(set(from_log) ^ set(columns))):
        raise ConfigError(
            f"--items-from-log: {wrong[0]!r} must be both declared and given a column; items have {columns}"
        )


def _positives(job: Import, readers: Readers) -> tuple[str, ...]:
    """Without a feature file: likes where ratings say them, the one event where files name none, else clicks."""
    if job.rules.ratings is not None:
        return (_LIKE,)
    reader = readers.of("interactions")
    first = reader.parts(job.interactions)[0]
    named = job.names.find(reader.names(first), ["event"], str(first))
    known = job.default_event in EVENTS
    return (job.default_event,) if known and not named else FeatureSpec().positives
