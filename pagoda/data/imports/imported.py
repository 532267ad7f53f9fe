"""What an import did beyond what it was told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pagoda.data.imports.rows.refusals import Refusals
from pagoda.data.imports.table_reader import Noticed


@dataclass
class Imported:
    """What an import did beyond what it was told."""

    noticed: Noticed = field(default_factory=Noticed)
    features: Path | None = None
    """What declares its columns."""
    refusals: Refusals | None = None
    """Rows that were left out."""
    refused: Path | None = None
    """Where they are filed."""
    rare: int = 0
    """Interactions of users and items that had too few."""
    made_items: int = 0
    """Items that the items' files did not have."""
    conflicts: dict[str, int] = field(default_factory=dict)
    """Column of the items → items of which the log says several values."""
    warnings: list[str] = field(default_factory=list)
    """What breaks no contract, and should be looked at: see `pagoda.data.checks.times`."""

    @property
    def passed_over(self) -> list[str]:
        """Files of the folders that were read whose names have no ending of the format."""
        return self.noticed.passed_over

    @property
    def left_out(self) -> dict[str, str]:
        """Column → file, of columns that no feature declares."""
        return self.noticed.left_out

    def words(self) -> Iterator[str]:
        """What is worth a warning, a sentence each."""
        for words in self.noticed.null_words.values():
            yield f"{words}; if that stands for nobody, say --null-value TEXT and --skip null-ids"
        for column, example in self.noticed.float_ids.items():
            yield (
                f"IDs of column {column!r} look like {example!r}: a column of whole numbers that pandas took for floats"
                " since values were missing? Write it as whole numbers (astype('Int64')), or requests must say it so"
            )
        yield from self.warnings
