"""`pagoda data import auto`: look at files, propose the command that imports them, and ask."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pagoda.cli.data.imports import importing

if TYPE_CHECKING:
    from pagoda.data.imports.auto.proposal import Proposal

_SHOWN_ROWS = 5


def auto(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="A log, and files of its items or users.")],
    *,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The new dataset folder.")] = Path(".pagoda/dataset"),
    write: Annotated[
        bool, typer.Option("--write", help="Write the proposed feature file also where nobody can be asked.")
    ] = False,
) -> None:
    """Look at files and propose the whole command with a features.yaml; at a terminal, show rows and ask.

    Without a terminal the command is printed, and nothing but the feature file is written (by --write).
    """
    from pagoda.data.imports.auto.proposal import propose

    proposal = propose(files)
    features = Path(f"{proposal.sample.path.name.partition('.')[0]}.features.yaml")
    proposal, rows = _tried(proposal)
    asked = sys.stdin.isatty() and sys.stdout.isatty()
    told = Console(stderr=not asked, highlight=False, markup=False)
    told.print(rows)
    for note in proposal.notes:
        told.print(f"- {note}", soft_wrap=True)
    if asked or not write:
        _print_file(features, proposal.features)
    if asked:
        typer.echo(proposal.command(to, features))
        typer.confirm("Import like this?", abort=True)
    if asked or write:
        _write(features, proposal.features)
    if asked:
        _run(proposal.arguments(to, features))
    else:
        typer.echo(proposal.command(to, features))


def _tried(proposal: Proposal) -> tuple[Proposal, Table | str]:
    """Import the sample as proposed: the first rows as they are understood, and the reasons to leave rows out."""
    from pagoda.data.imports.rows.refusals import Reason
    from pagoda.errors import PagodaError

    reasons = [reason.value for reason in Reason if reason is not Reason.RETURNS]
    with tempfile.TemporaryDirectory(prefix="pagoda-auto-") as name:
        folder = Path(name)
        dataset, features = folder / "dataset", folder / "features.yaml"
        features.write_text(proposal.features)
        log = proposal.sample.copy(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                _run(proposal.skipping(reasons).arguments(dataset, features, log))
        except PagodaError as error:
            said = str(error).replace(str(log), str(proposal.sample.path))
            return proposal, f"The first rows cannot be imported like this yet: {said}"
        return proposal.skipping(_refused(dataset, proposal.sample.whole)), _first_rows(dataset)


def _refused(dataset: Path, whole: bool) -> list[str]:
    """The reasons for which rows of a sample were left out."""
    from pagoda.data.imports.importer import refused_path
    from pagoda.data.imports.rows.refusals import Reason

    if not refused_path(dataset).exists():
        return []
    with refused_path(dataset).open(newline="") as file:
        refused = {(row["table"], row["reason"]) for row in csv.DictReader(file)}
    # That a user does the same again is nothing wrong; that an item has two rows is.
    found = sorted({why for table, why in refused if (table, why) != ("interactions", Reason.DUPLICATES)})
    # A row may be cut at the sample's end.
    return found if whole else [why for why in found if why != Reason.UNREADABLE]


def _first_rows(path: Path) -> Table:
    """The first interactions of a dataset, with the columns of their items."""
    from pagoda.data.dataset import Dataset

    dataset = Dataset.open(path)
    strings = dataset.spec.id_type == "string"
    user, item = ("user_key", "item_key") if strings else ("user_id", "item_id")
    rows = next(dataset.batches(columns=[user, item, "event", "timestamp"])).slice(0, _SHOWN_ROWS).to_pylist()
    items = dataset.items().to_pylist()
    known = {one[item]: one for one in items}
    more = [name for name in (items[0] if items else {}) if name not in ("item_id", "item_key")]
    table = Table(title="The first rows, as they are understood", title_justify="left", box=None, pad_edge=False)
    for name in ("user", "item", "event", "timestamp", *more):
        table.add_column(name, overflow="fold")
    for row in rows:
        told = [row[user], row[item], row["event"], f"{row['timestamp']:%Y-%m-%d %H:%M:%S}"]
        table.add_row(*(str(value) for value in (*told, *(known[row[item]][name] for name in more))))
    return table


def _print_file(path: Path, content: str) -> None:
    typer.echo(f"# {path}:")
    for line in content.splitlines():
        typer.echo(f"#   {line}")


def _write(path: Path, content: str) -> None:
    """Write the feature file; one that somebody has changed is not overwritten."""
    from pagoda.errors import ConflictError
    from pagoda.storage.atomic import write_atomic

    if path.exists() and path.read_text() != content:
        raise ConflictError(f"{path} exists already and is not overwritten; use it, or remove it first")
    write_atomic(path, content.encode())


def _run(arguments: list[str]) -> None:
    typer.main.get_command(importing).main(arguments, prog_name="pagoda data import", standalone_mode=False)
