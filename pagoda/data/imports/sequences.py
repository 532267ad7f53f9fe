"""Sequences without timestamps, as public benchmarks of sequential recommendation come, as a dataset folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.ids import WHOLE_NUMBER
from pagoda.data.layout import FEATURES_FILE, schema_of
from pagoda.data.new_folder import new_dataset
from pagoda.data.parquet import write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.data.spec import FeatureSpec, write_spec
from pagoda.data.window import Window, from_us, to_us
from pagoda.errors import DataError

Int64Array = NDArray[np.int64]
STEP_US = 3_600_000_000
"""Between two interactions of a user: an hour."""
LAST = datetime(2001, 1, 1, tzinfo=UTC)
"""The moment of every user's last interaction."""
SPEC = FeatureSpec()
LEFT_OUT = 2
_BATCH_ROWS = 1 << 16
# NumPy, like Python, also reads 1_0 and 010 as 10.
_LINE = re.compile(rf"\s*(?:(?:{WHOLE_NUMBER})(?:\s+|$))*", re.ASCII)


@dataclass(frozen=True)
class Splits:
    """The windows of leave-one-out."""

    train: Window
    """Everything but the last two interactions of each user."""
    validation: Window
    """The last but one of each user."""
    test: Window
    """The last of each user."""


@dataclass(frozen=True)
class UserSequences:
    """What a file of sequences says."""

    users: Int64Array
    """int64 [u]."""
    lengths: Int64Array
    """int64 [u], at least 1."""
    items: Int64Array
    """int64 [sum of lengths], user by user."""


def import_sequences(path: Path, source: Path, spec: FeatureSpec = SPEC) -> Splits:
    """Write the sequences of `source` to the new dataset folder `path`, and say where leave-one-out cuts them.

    A line is a user and the items they chose, in the order of time, separated by blanks, all integers. As there are no
    timestamps, moments are made up: the last interaction of every user is of `LAST`, each one before it an hour
    earlier. So leaving the last one out is leaving a window out, and everything that works by windows works here. Who
    has less than three interactions is learned from and not asked: their last one is of before the validation.

    Args:
        path: The folder.
        source: The file.
        spec: Of IDs alone: how long histories are.

    Raises:
        DataError: A line is something else, a user has two, or no user has enough interactions to leave two out.
        ConflictError: `path` exists already.
    """
    found = read_sequences(source)
    with new_dataset(path) as folder:
        write_spec(spec, folder / FEATURES_FILE)
        first_us = _write_interactions(found, folder / "interactions")
        for name, ids in (("users", np.sort(found.users)), ("items", np.unique(found.items))):
            schema = schema_of(spec, "users" if name == "users" else "items")
            batch = pa.RecordBatch.from_arrays([pa.array(ids)], schema=schema)
            write_table(folder / name, iter([batch]), schema)
    last_us = to_us(LAST)
    edges = [from_us(moment) for moment in (first_us, last_us - STEP_US, last_us, last_us + STEP_US)]
    train, validation, test = (Window(start=start, end=end) for start, end in pairwise(edges))
    return Splits(train, validation, test)


def read_sequences(source: Path) -> UserSequences:
    """Read a file as `import_sequences` describes it, and raise what that raises of its lines."""
    users: list[int] = []
    parts: list[Int64Array] = []
    try:
        with source.open() as lines:
            for number, line in enumerate(lines, 1):
                numbers = _integers(line, f"{source}, line {number}")
                if len(numbers) > 1:
                    users.append(int(numbers[0]))
                    parts.append(numbers[1:])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: cannot be read ({error})") from error
    distinct, counts = np.unique(np.array(users, np.int64), return_counts=True)
    if (counts > 1).any():
        raise DataError(f"{source}: user {distinct[counts > 1][0]} has two lines; a user has one, with all their items")
    lengths = np.array([len(part) for part in parts], np.int64)
    if not (lengths > LEFT_OUT).any():
        raise DataError(
            f"{source}: no user has three items or more, so none can be left out; a line is: user item item …"
        )
    return UserSequences(np.array(users, np.int64), lengths, np.concatenate(parts))


def _integers(line: str, where: str) -> Int64Array:
    try:
        if not _LINE.fullmatch(line):
            raise ValueError("not whole numbers as they are written out")
        return np.array(line.split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{where}: expected integers: a user and their items, in the order of time ({error})") from None


def _write_interactions(found: UserSequences, folder: Path) -> int:
    """Write all interactions in the order of their made-up times, and return the first of these, microseconds."""
    ends = np.cumsum(found.lengths)
    to_end = np.repeat(ends, found.lengths) - 1 - np.arange(ends[-1])
    to_end += np.repeat(np.where(found.lengths > LEFT_OUT, 0, LEFT_OUT), found.lengths)
    order = np.argsort(-to_end, kind="stable")
    times_us = to_us(LAST) - to_end[order] * STEP_US
    users = np.repeat(found.users, found.lengths)[order]
    schema = schema_of(SPEC, "interactions")
    event = pa.array([SPEC.positives[0]])
    with InteractionWriter(folder, schema) as writer:
        columns = pa.table(
            [users, found.items[order], pa.repeat(event[0], len(order)), times_us], names=schema.names
        ).cast(schema)
        for batch in columns.to_batches(_BATCH_ROWS):
            writer.write(batch)
    return int(times_us[0])
