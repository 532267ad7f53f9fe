"""The command that would import a log, and the feature file that it names."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.ids import look_like_numbers
from pagoda.data.imports.auto.feature_columns import Columns, FeatureColumn, columns_in_log, columns_of
from pagoda.data.imports.auto.roles import numbers
from pagoda.data.imports.auto.samples import Sample
from pagoda.data.imports.auto.tables import Tables, tell_apart
from pagoda.data.imports.auto.words import event_of
from pagoda.data.imports.casts import NO_IDS
from pagoda.data.spec import EVENTS as COMMON
from pagoda.data.spec import Tower

_LIKED = 0.8
"""Ratings from this share of the highest on are likes: 4 of 5, 8 of 10."""
_NAMES = {"user": "user_id", "item": "item_id", "event": "event", "timestamp": "timestamp"}
_LEARNED = ("click", "like", "cart", "purchase")


@dataclass(frozen=True)
class Proposal:
    """How a log would be imported."""

    sample: Sample
    features: str
    """Content of the feature file."""
    options: tuple[str, ...]
    """What is said beside the files."""
    skip: tuple[str, ...]
    """Reasons for which rows are left out."""
    notes: tuple[str, ...]
    """What was guessed, and should be looked at."""

    def arguments(self, dataset: Path, features: Path, log: Path | None = None) -> list[str]:
        """The arguments of `pagoda data import`; `log`: the interactions, in place of the file that was looked at."""
        files = ["--interactions", str(log or self.sample.path), "--features", str(features)]
        skip = ["--skip", ",".join(self.skip)] if self.skip else []
        return [self.sample.format, str(dataset), *files, *self.options, *skip]

    def command(self, dataset: Path, features: Path) -> str:
        """The command to type, an option with its value a line."""
        words = self.arguments(dataset, features)
        lines = [f"pagoda data import {words[0]} {shlex.quote(words[1])}"]
        for word in words[2:]:
            if word.startswith("--"):
                lines.append(word)
            else:
                lines[-1] += f" {shlex.quote(word)}"
        return " \\\n    ".join(lines)

    def skipping(self, reasons: list[str]) -> Proposal:
        """The same, with rows left out for these reasons, too."""
        return replace(self, skip=tuple(dict.fromkeys((*self.skip, *reasons))))


def propose(files: list[Path]) -> Proposal:
    """Look at the beginning of a log, and of files of its items and users.

    Raises:
        DataError: There is no telling what a file holds, or which column is the user or the item.
    """
    return _Proposing(tell_apart(files)).proposal()


class _Proposing:
    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._sample, self._roles = tables.log, tables.roles
        self._columns = self._roles.columns
        self._notes = list(self._roles.notes)
        self._positives: list[str] = ["click"]
        self._own_events: list[str] = []
        self._users, self._items = self._side("user"), self._side("item")
        self._in_log = Columns()
        if "item" not in tables.sides:
            self._in_log = columns_in_log(self._sample, self._columns["item"], self._roles.free)

    def _side(self, role: Tower) -> Columns:
        side = self._tables.sides.get(role)
        if side is None:
            return Columns()
        return columns_of(side.sample, role, [name for name in side.sample.names if name != side.key])

    def proposal(self) -> Proposal:
        skip = self._null_ids()
        options = [*self._form(), *self._named(), *self._moments(), *self._events()]
        if "quantity" in self._columns:
            options += ["--quantity-column", self._name("quantity")]
            skip.append("returns")
        if found := self._in_log.found:
            options += ["--items-from-log", ",".join(f"{one.name}={self._file_name(one.column)}" for one in found)]
        options += self._side_files() + self._decimal() + self._null_words(skip)
        options += ["--drop-others"] if self._left_out() else []
        return Proposal(self._sample, self._declaration(), tuple(options), tuple(skip), tuple(self._notes))

    def _left_out(self) -> list[str]:
        """Columns that become nothing, with the reason."""
        free = self._roles.free if "item" in self._tables.sides else []
        tables = (self._in_log, self._items, self._users)
        return [f"{self._file_name(one)}: of the log" for one in free] + [
            one for table in tables for one in table.others
        ]

    def _side_files(self) -> list[str]:
        """Files of items and users, and their columns by the names of the features."""
        options = []
        for role, side in self._tables.sides.items():
            options += [f"--{role}s", str(side.sample.path)]
            if not side.sample.header:
                options += ["--columns", f"{role}s={','.join(side.sample.names)}"]
        for one in (*self._items.found, *self._users.found):
            if one.kind == "title" and one.column != one.name:
                options += ["--title-column", one.column]
            elif one.name != one.column:
                options += ["--rename", f"{one.name}={one.column}"]
        return options

    def _form(self) -> list[str]:
        """How the file is written; without a header line, its columns are called by what they are."""
        sample = self._sample
        options = ["--delimiter", "tab" if sample.delimiter == "\t" else sample.delimiter]
        options = options if sample.format == "csv" and sample.delimiter != "," else []
        options += ["--quote", "none"] if sample.format == "csv" and self._tables.quote is None else []
        options += ["--encoding", self._tables.encoding] if self._tables.encoding != "utf-8" else []
        if not sample.header:
            options += ["--columns", ",".join(self._file_name(name) for name in sample.names)]
        return options

    def _file_name(self, column: str) -> str:
        """What the command calls a column."""
        if self._sample.header:
            return column
        role = next((role for role, name in self._columns.items() if name == column), column)
        return _NAMES.get(role, role)

    def _name(self, role: str) -> str:
        return self._file_name(self._columns[role])

    def _named(self) -> list[str]:
        found = []
        for role, usual in _NAMES.items():
            if role in self._columns and self._name(role) != usual:
                found += [f"--{role}-column", self._name(role)]
        return found

    def _moments(self) -> list[str]:
        if "timestamp" in self._columns:
            clock = ["--time-column", self._name("clock")] if "clock" in self._columns else []
            return [*clock, *self._roles.written.options]
        return ["--order-column", self._name("order")] if "order" in self._columns else ["--in-order"]

    def _events(self) -> list[str]:
        if "event" in self._columns:
            return self._mapped_events()
        if "rating" in self._columns:
            found = numbers(self._roles.values(self._columns["rating"]))
            best = 5.0 if found is None else pc.max(found).as_py()
            self._positives = ["like"]
            self._notes.append(f"ratings go up to {best:g}: those from {best * _LIKED:g} on are taken for likes")
            return ["--rating-column", self._name("rating"), "--like-from", f"{best * _LIKED:g}"]
        if "quantity" in self._columns:
            self._positives = ["purchase"]
            return ["--event", "purchase"]
        return []

    def _mapped_events(self) -> list[str]:
        words = sorted(pc.unique(self._roles.values(self._columns["event"])).to_pylist())
        mapping = {word: event_of(word) for word in words}
        targets = {word if event is None else event for word, event in mapping.items()}
        self._own_events = sorted(targets - {*COMMON, ""})
        self._positives = [event for event in _LEARNED if event in targets] or sorted(targets - {""})[:1]
        if unknown := [word for word, event in mapping.items() if event is None and word not in COMMON]:
            self._notes.append(f"events {unknown} are none that is known: they are declared, and not learned from")
        pairs = [f"{word}={event}" for word, event in mapping.items() if event is not None and event != word]
        return [word for pair in pairs for word in ("--map-event", pair)]

    def _null_ids(self) -> list[str]:
        ids = [self._columns[role] for role in ("user", "item")]
        missing = [column for column in ids if self._sample.table[column].null_count]
        if missing:
            guests = ": guests?" if self._columns["user"] in missing else ""
            self._notes.append(f"rows without a value of {', '.join(map(repr, missing))} are left out{guests}")
        return ["null-ids"] if missing else []

    def _null_words(self, skip: list[str]) -> list[str]:
        found: set[str] = set()
        for role in ("user", "item"):
            values = pc.unique(self._roles.values(self._columns[role]))
            if pa.types.is_string(values.type):
                found |= {one for one in values.to_pylist() if one.lower() in NO_IDS}
        if found and "null-ids" not in skip:
            skip.append("null-ids")
        return [word for text in sorted(found) for word in ("--null-value", text)]

    def _decimal(self) -> list[str]:
        """A comma in the numbers that are read."""
        read = [one.column for one in self._in_log.found if one.kind == "numeric"]
        read += [self._columns[role] for role in ("rating", "quantity") if role in self._columns]
        texts = [self._roles.values(column) for column in read]
        for one in (*self._items.found, *self._users.found):
            texts += [self._tables.sides[one.tower].sample.table[one.column]] if one.kind == "numeric" else []
        commas = [pc.any(pc.match_substring(one, ",")).as_py() for one in texts if pa.types.is_string(one.type)]
        return ["--decimal", ","] if any(commas) else []

    def _declaration(self) -> str:
        """The feature file, with what was seen beside what is proposed."""
        declared = [*self._items.found, *self._in_log.found, *self._users.found]
        title = next((one for one in declared if one.kind == "title"), None)
        lines = [
            f"# Proposed by `pagoda data import auto` for {self._sample.path.name}: read it, and change what is wrong.",
            f"id_type: {self._id_type()}",
            f"positives: [{', '.join(self._positives)}]  # the events that are learned",
        ]
        lines += [f"events: [{', '.join(map(_yaml, self._own_events))}]"] if self._own_events else []
        lines += [f"title: title  # {_named(title)}"] if title is not None else []
        features = [one for one in declared if one.kind != "title"]
        lines += ["features:"] if features else []
        for one in features:
            lines += [f"  # {_named(one)}", f"  - {_yaml(one.declared())}"]
        others = self._left_out()
        lines += ["# Left out:"] if others else []
        lines += [f"#   {other}" for other in others]
        return "\n".join(lines) + "\n"

    def _id_type(self) -> str:
        both = [self._roles.values(self._columns[role]) for role in ("user", "item")]
        return "int64" if all(map(look_like_numbers, both)) else "string"


def _named(column: FeatureColumn) -> str:
    return f"column {column.column!r}: {column.why}"


def _yaml(value: Any) -> str:
    """A value in one line of YAML, of which JSON is a part."""
    return json.dumps(value, ensure_ascii=False)
