"""Which of several files is the log, and which ones are its items and its users."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.imports.auto.roles import Roles
from pagoda.data.imports.auto.samples import Sample, read_sample
from pagoda.data.imports.auto.words import COLUMNS, plain
from pagoda.errors import DataError


@dataclass(frozen=True)
class Side:
    """A file with a row for each item, or for each user."""

    sample: Sample
    key: str
    """Column with the ID."""


@dataclass(frozen=True)
class Tables:
    """The files of a dataset by what they hold."""

    log: Sample
    roles: Roles
    sides: dict[str, Side]
    """`item`, `user` → their file."""

    @property
    def encoding(self) -> str:
        """Of all files: text without any special letter is in every encoding."""
        samples = (self.log, *(side.sample for side in self.sides.values()))
        found = sorted({one.encoding for one in samples if not one.content.isascii()})
        if len(found) > 1:
            raise DataError(
                f"the files are in several encodings, {found}; an import reads files of one: write one anew"
            )
        return found[0] if found else "utf-8"

    @property
    def quote(self) -> str | None:
        """Of all files: where none is written, there may be any."""
        samples = (self.log, *(side.sample for side in self.sides.values()))
        found = {one.quote for one in samples if b'"' in one.content}
        if len(found) > 1:
            raise DataError(
                "quotes stand around values in one file and are characters in another; an import reads files of one "
                "form: write one anew"
            )
        return found.pop() if found else '"'


def tell_apart(files: list[Path]) -> Tables:
    """Look at the beginnings of files.

    Raises:
        DataError: There is no telling what a file holds, or they are of several forms, which one import cannot read.
    """
    samples = [read_sample(path) for path in files]
    log = samples[0] if len(samples) == 1 else next((one for one in samples if _is_log(one)), None)
    if log is None:
        raise DataError(f"none of {', '.join(map(str, files))} has columns of users and of items; name one alone")
    roles = Roles.of(log)
    sides: dict[str, Side] = {}
    for sample in samples:
        if sample is log:
            continue
        role = _role_of(sample, roles)
        if role is None or role in sides:
            raise DataError(
                f"{sample.path}: neither the items nor the users of {log.path}, or another file is that already"
            )
        _check_form(sample, log)
        sides[role] = _side(sample, role, roles)
    return Tables(log, roles, sides)


def _is_log(sample: Sample) -> bool:
    """By names, or without any by the moments that a log alone has."""
    names = {plain(name) for name in sample.names}
    if sample.header:
        return all(names & set(COLUMNS[role]) for role in ("user", "item"))
    try:
        return "timestamp" in Roles.of(sample).columns
    except DataError:
        return False


def _role_of(sample: Sample, roles: Roles) -> str | None:
    if sample.header:
        return next((role for role in ("item", "user") if _key_named(sample, role, roles)), None)
    # Without names, by the IDs in the first column: those of the log.
    keys = _texts(sample.table[sample.names[0]].combine_chunks())
    shares = {role: _share(pc.is_in(_texts(roles.values(roles.columns[role])), keys)) for role in ("item", "user")}
    return max(shares, key=lambda role: (shares[role], len(_texts(roles.values(roles.columns[role]))) == len(keys)))


def _side(sample: Sample, role: str, roles: Roles) -> Side:
    if sample.header:
        return Side(sample, str(_key_named(sample, role, roles)))
    # Names of columns of items and of users must differ: as features they stand in one list.
    names = [f"{role}_id", *(f"{role}_{number}" for number in range(2, len(sample.names) + 1))]
    return Side(replace(sample, table=sample.table.rename_columns(names)), names[0])


def _key_named(sample: Sample, role: str, roles: Roles) -> str | None:
    """The column of IDs: as the log calls it, or as Pagoda does."""
    return next((one for one in (roles.columns[role], f"{role}_id") if one in sample.names), None)


def _check_form(sample: Sample, log: Sample) -> None:
    for what in ("format", "delimiter", "header"):
        given, wanted = getattr(sample, what), getattr(log, what)
        if given != wanted:
            raise DataError(
                f"{sample.path}: its {what} is {given!r} and that of {log.path} is {wanted!r}; an import reads files "
                "of one form: write one of them anew, or look at the log alone"
            )


def _texts(values: pa.Array) -> pa.Array:
    return pc.unique(values.cast(pa.string()))


def _share(found: pa.Array) -> float:
    return float(pc.mean(found.cast(pa.float64())).as_py() or 0.0)
