"""`pagoda data check`: reads a whole dataset folder and finds everything that is wrong with it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pagoda.data.checks.id_ledger import IdLedger
from pagoda.data.checks.names import problems_of
from pagoda.data.checks.partitions import (
    KEYS,
    PartitionCheck,
    PartitionFindings,
    by_date,
    check_partition,
    numbers_of,
    read_rows,
)
from pagoda.data.checks.problems import Kind, Problem, ProblemReport
from pagoda.data.checks.structure import Structure, inspect
from pagoda.data.checks.times import LogTimes
from pagoda.data.checks.values import check_values
from pagoda.data.increments import changes_of
from pagoda.data.layout import FEATURES_FILE, Table, key_column
from pagoda.errors import ConfigError, DataError
from pagoda.processes.dealing import dealt

_BYTES_FOR_ONE = 64 << 20
"""Files of interactions that one process has checked before others would be ready to help."""


@dataclass
class Checked:
    """What a check found."""

    report: ProblemReport
    rows: dict[Table, int] = field(default_factory=lambda: {"interactions": 0, "users": 0, "items": 0})
    tied_share: float = 0.0
    """Share of the imported interactions that have their moment with another item of the same user."""
    warnings: list[str] = field(default_factory=list)
    """What breaks no contract, and should be looked at."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        report = self.report
        counts = {kind.value: count for kind, count in report.counts.items()}
        problems = [problem.as_dict() for problem in report.problems]
        return {
            "ok": report.ok,
            "rows": self.rows,
            "counts": counts,
            "problems": problems,
            "tied_share": self.tied_share,
            "warnings": self.warnings,
        }


def check_dataset(path: Path, processes: int | None = None) -> Checked:
    """Check structure and every value below `path`; memory is bounded by the item IDs and a batch a process.

    Args:
        path: The folder.
        processes: Among which the dates are dealt; None: one a core, and one where there is little to read.

    Raises:
        UnavailableError: One of the processes was killed.
    """
    checked = Checked(ProblemReport())
    try:
        structure = inspect(path, checked.report)
    except DataError as error:
        checked.report.add(Problem(Kind.UNREADABLE, str(path), str(error).removeprefix(f"{path}: ")))
        return checked
    except ConfigError as error:
        checked.report.add(Problem(Kind.SPEC, str(path), str(error)))
        return checked
    for problem in problems_of(structure.spec):
        checked.report.add(Problem(Kind.SPEC, str(path / FEATURES_FILE), problem))
    with tempfile.TemporaryDirectory(prefix="pagoda-check-") as spill:
        _Check(structure, checked, Path(spill)).run(_processes(structure) if processes is None else processes)
    return checked


def _processes(structure: Structure) -> int:
    size = sum(part.path.stat().st_size for part in structure.parts)
    return len(os.sched_getaffinity(0)) if size > _BYTES_FOR_ONE else 1


class _Check:
    def __init__(self, structure: Structure, checked: Checked, spill: Path) -> None:
        self._structure = structure
        self._spec = structure.spec
        self._checked = checked
        self._spill = spill
        # Two strings with one hash may also meet between a table and the log, and between two dates.
        strings = self._spec.id_type == "string"
        self._seen = {column: IdLedger(column, spill, distinct=True) for column in KEYS if strings}

    def run(self, processes: int) -> None:
        self._check_table("users")
        known = self._check_table("items")
        times = LogTimes(self._spec)
        for found in self._partitions(self._known_items(known), processes):
            self._checked.report.absorb(found.report)
            self._checked.rows["interactions"] += found.rows
            times.absorb(found.times)
            for column, ids in found.ids.items():
                self._seen[column].take(ids)
        for ledger in self._seen.values():
            ledger.report(self._checked.report)
        self._checked.tied_share = times.tied_share
        self._checked.warnings += times.warnings()

    def _partitions(self, known: Path | None, processes: int) -> Iterator[PartitionFindings]:
        """What is found in each date, in their order, whoever is first."""
        checks = []
        for parts in by_date(self._structure.parts):
            spill = self._spill / parts[0].day.isoformat()
            spill.mkdir()
            checks.append(PartitionCheck(parts, self._spec, known, spill))
        return dealt(check_partition, checks, processes, "checked a date")

    def _known_items(self, known: np.ndarray) -> Path | None:
        """The items' IDs as a file, which processes map and share."""
        if not self._structure.files["items"]:
            return None
        path = self._spill / "items.npy"
        np.save(path, known)
        return path

    def _check_table(self, table: Table) -> np.ndarray:
        """Check `users` or `items`; return the items' IDs as sorted int64 (users may be too many, theirs are empty)."""
        key = key_column(table)
        # Changed items stand before the other files' rows of the same IDs, so they repeat none of them.
        ledgers = {changed: IdLedger(key, self._spill, distinct=False) for changed in (True, False)}
        ids = [np.empty(0, np.int64)]
        for path in self._structure.files[table]:
            ledger = ledgers[changes_of(path.name) is not None]
            for rows in read_rows(path, table, self._spec, self._checked.report):
                self._checked.rows[table] += rows.batch.num_rows
                check_values(rows, self._spec, table)
                found = ledger.add(rows.batch[key], rows.file, rows.first_row)
                numbers_of(rows, key, self._seen.get(key))
                if table == "items":
                    ids.append(found)
        for ledger in ledgers.values():
            ledger.report(self._checked.report)
        known = np.unique(np.concatenate(ids))
        if table == "items":  # A changed item has a row of its own beside the one that it was imported with.
            self._checked.rows["items"] -= sum(map(len, ids)) - len(known)
        return known
