"""What is said after an import: what was left out, what was noticed, and what there is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pagoda.data.imports.imported import Imported
    from pagoda.data.imports.rows.refusals import Refusals


def tell(imported: Imported) -> None:
    """Print what an import did beyond what it was told."""
    noticed, refusals = imported.noticed, imported.refusals
    if noticed.left_out:
        why = "there is no feature file" if imported.features is None else f"{imported.features} does not declare them"
        typer.echo(f"left out, since {why}: {', '.join(sorted(noticed.left_out))}")
    if noticed.passed_over:
        typer.echo(f"not read, by the endings of their names: {', '.join(noticed.passed_over)}")
    if refusals is not None and refusals.counts:
        _tell_refused(refusals, imported.refused)
    counted = {
        "interactions left out whose event is mapped to nothing": noticed.dropped,
        "interactions left out of users or items with too few": imported.rare,
        "items made that the items' files do not have": imported.made_items,
    }
    for words, count in counted.items():
        if count:
            typer.echo(f"{count:,} {words}")
    for column, items in imported.conflicts.items():
        typer.echo(f"{items:,} items have several values of {column} in the log; the last one counts")
    warn(imported.words())


def warn(warnings: Iterable[str]) -> None:
    """Print what breaks no contract, and should be looked at."""
    console = Console(soft_wrap=True, highlight=False, stderr=True)
    for warning in warnings:
        console.print(Text("Warning: ", style="yellow").append(warning, style="default"))


def _tell_refused(refusals: Refusals, filed: Path | None) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("refused", "rows", "share", "the first"):
        table.add_column(name, justify="right" if name in ("rows", "share") else "left", overflow="fold")
    for (kind, reason), count in refusals.counts.most_common():
        of = "" if kind == "interactions" else f" of {kind}"
        share = f"{count / refusals.rows:.2%}"
        table.add_row(f"{reason}{of}", f"{count:,}", share, Text(refusals.firsts[kind, reason]))
    Console(highlight=False).print(table)
    typer.echo(f"{refusals.counts.total():,} of {refusals.rows:,} rows were left out; each is in {filed}")


def describe(path: Path) -> None:
    """Print what a dataset holds."""
    from pagoda.data.dataset import Dataset

    dataset = Dataset.open(path)
    span = dataset.span()
    users = sum(batch.num_rows for batch in dataset.user_batches())
    Console(soft_wrap=True).print(
        f"{path}: {dataset.count():,} interactions, {users:,} users, {dataset.items().num_rows:,} items, "
        f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}",
        highlight=False,
        markup=False,
    )
