"""`pagoda mine`: hard negatives from a version's own search."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pagoda.cli.options import DataOption, HomeOption, ProcessesOption

if TYPE_CHECKING:
    from pagoda.updates.mining.searches import CollectionSearch

app = typer.Typer()


@app.command()
def mine(
    *,
    version: Annotated[str, typer.Option("--version", help="Number of a registered full version, or a folder of one.")],
    data: DataOption,
    out: Annotated[Path, typer.Option(help="New Parquet file: user_id, item_id, rank.")],
    ranks: Annotated[str, typer.Option(metavar="FIRST-LAST", help="Which ranks to write.")] = "101-500",
    collection: Annotated[
        bool,
        # Its name of when there was one backend.
        typer.Option("--collection", "--milvus", help="Ask the version's collection, as serving does, not every item."),
    ] = False,
    processes: ProcessesOption = 1,
    home: HomeOption = None,
) -> None:
    """Write what a version finds for its users below what it shows: hard negatives for `pagoda train full --mined`."""
    from pagoda.cli.training.evaluate import version_files
    from pagoda.data.dataset import Dataset
    from pagoda.errors import ConfigError
    from pagoda.updates.mining.mine import mine as mine_negatives

    first, dash, last = ranks.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise ConfigError(f"--ranks {ranks!r}: expected FIRST-LAST, like 101-500")
    search = _search(version, home) if collection else None
    files = version_files(version, home)
    dataset, chosen = Dataset.open(data), (int(first), int(last))
    rows = mine_negatives(dataset, files, out, search=search, ranks=chosen, processes=processes)
    typer.echo(f"{out}: {rows:,} negatives")


def _search(version: str, home: Path | None) -> CollectionSearch:
    from pagoda.errors import ConfigError
    from pagoda.generations.release_log import open_log
    from pagoda.index.factory import open_collections
    from pagoda.settings import load_settings
    from pagoda.updates.mining.searches import CollectionSearch

    settings = load_settings(home)
    generations = open_log(settings).state().generations.values()
    ours = [each for each in generations if (str(each.full_version), each.backend) == (version, settings.index.backend)]
    if ours and (kept := ours[-1].originals) and kept.reduction:
        raise ConfigError(f"--collection: that of version {version} holds fewer numbers (index.dim); mine without it")
    names = [each.collection for each in ours]
    if not names:
        raise ConfigError(
            f"--collection: version {version} has no generation with a collection in {settings.index.backend} to ask"
        )
    return CollectionSearch(open_collections(settings), names[-1])
