"""Rows that a reader refuses, handed over in their places among those that it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

import numpy as np
import pyarrow as pa

from pagoda.errors import DataError

NO_UTF8 = "not UTF-8; if the file is in another encoding, say which: --encoding latin-1"
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Refusal:
    """A row that cannot be read."""

    file: str
    reason: str
    """What is wrong with it, and what to do."""
    line: int | None = None
    """Where it begins, as an editor counts: from 1, a header included."""
    column: str | None = None

    def __str__(self) -> str:
        place = [self.file]
        place += [] if self.line is None else [f"line {self.line:,}"]
        place += [] if self.column is None else [f"column {self.column!r}"]
        return f"{', '.join(place)}: {self.reason}"


Refuse = Callable[[Refusal], None]
Read: TypeAlias = pa.RecordBatch | Refusal
"""What is made of a piece of a file."""


def raise_refusal(refusal: Refusal) -> NoReturn:
    """Stop at the first row that cannot be read."""
    raise DataError(str(refusal))


def pass_over(refusal: Refusal) -> None:
    """For who only looks at a file: whoever reads it for good is told of the same rows."""


def cut_out(batch: pa.RecordBatch, rows: np.ndarray, refusals: Mapping[int, Refusal]) -> Iterator[Read]:
    """A batch without the rows that are refused, and each refusal in the place of its row.

    Args:
        batch: Rows in order.
        rows: int64 [n], ascending: their numbers. Those that are refused may be among them.
        refusals: By number of row.
    """
    taken = 0
    for row in sorted(refusals):
        here = int(np.searchsorted(rows, row))
        if here > taken:
            yield batch.slice(taken, here - taken)
        yield refusals[row]
        taken = here + int(here < len(rows) and rows[here] == row)
    if taken < batch.num_rows:
        yield batch.slice(taken)


def hand_over(read: Iterator[Read], refuse: Refuse) -> Iterator[pa.RecordBatch]:
    """The batches; refusals go to `refuse`."""
    for found in read:
        if isinstance(found, Refusal):
            refuse(found)
        else:
            yield found


def shown(value: object) -> str:
    """A value as a refusal shows it: short."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
