"""A batch of an import whose bad rows are marked, and either left out or the import's end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pagoda.data.checks.problems import Kind, Problem, Strict, add_rows
from pagoda.data.checks.values import RowBatch
from pagoda.data.imports.rows.refusals import Reason, Refusals, reason_of
from pagoda.data.layout import Table

_STRICT = Strict()
_LIKE = "like"
_ADVICE = {
    Reason.UNKNOWN_ITEMS: "; --skip unknown-items leaves such rows out, --unknown-items make makes the items",
    Reason.RETURNS: "; --skip returns leaves such rows out",
}


@dataclass(frozen=True)
class SiftedRows(RowBatch):
    """Rows of a table as they are checked. A row is refused once, for what is found first."""

    refusals: Refusals = field(kw_only=True)
    table: Table = field(kw_only=True)
    out: np.ndarray = field(kw_only=True)
    """Rows that are left out, bool [n]; they grow in number as checks find more."""

    def tell(self, kind: Kind, column: str, bad: np.ndarray | pa.Array, message: str, *, of_item: bool = False) -> None:
        """Refuse the rows of `column` where `bad` holds; `of_item`: with the ID of the item that each is of."""
        if not isinstance(bad, np.ndarray) and not pc.any(bad).as_py():
            return
        mask = bad if isinstance(bad, np.ndarray) else bad.fill_null(False).to_numpy(zero_copy_only=False)
        items = self.batch["item_id"] if of_item else None
        self.refuse(kind, column, mask, message, self.batch[column], items=items)

    def refuse(
        self,
        kind: Kind,
        column: str,
        bad: np.ndarray,
        message: str,
        values: pa.Array,
        *,
        items: pa.Array | None = None,
    ) -> None:
        """Refuse the rows where `bad` holds, which have these values in what Pagoda calls `column`.

        Raises:
            DataError: There are such rows, and they are not to be left out.
        """
        bad = bad & ~self.out
        if not bad.any():
            return
        problem = Problem(kind, self.file, message, self.names.get(column, column))
        reason = reason_of(kind, column)
        if reason is None or reason not in self.refusals.skip.reasons:
            add_rows(_STRICT, _advised(problem, reason), self.first_row, values, bad, items=items)
            return
        rows = np.flatnonzero(bad)
        self.refusals.refuse(reason, problem, self.table, rows + self.first_row, values.take(pa.array(rows)))
        self.out[rows] = True

    def keys(self, column: str) -> pa.Array:
        """IDs of a column, null for rows that are left out."""
        keys = self.batch[column]
        if not self.out.any():
            return keys
        return pc.if_else(pa.array(self.out), pa.scalar(None, keys.type), keys)

    @property
    def kept(self) -> np.ndarray:
        """Positions of the rows that are taken."""
        return np.flatnonzero(~self.out)

    def taken(self) -> pa.RecordBatch:
        """The rows that are taken."""
        return self._at(self.kept)

    def taken_with(self, likes: np.ndarray | None) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows that are taken, those where `likes` (bool [n]) holds a second time as likes, and their positions.

        A like follows its click at once, with the same timestamp.
        """
        kept = self.kept
        if likes is None:
            return self._at(kept), kept
        kept = np.repeat(kept, 1 + likes[kept])
        batch = self._at(kept)
        second = np.append(False, kept[1:] == kept[:-1])[: len(kept)]
        place = batch.schema.get_field_index("event")
        events = pc.if_else(pa.array(second), pa.scalar(_LIKE), batch["event"])
        return batch.set_column(place, batch.schema.field(place), events), kept

    def _at(self, positions: np.ndarray) -> pa.RecordBatch:
        whole = len(positions) == self.batch.num_rows and not self.out.any()
        return self.batch if whole else self.batch.take(pa.array(positions))


def _advised(problem: Problem, reason: Reason | None) -> Problem:
    if reason is None:
        return problem
    advice = _ADVICE.get(reason, f"; --skip {reason} leaves such rows out")
    return replace(problem, message=problem.message + advice)
