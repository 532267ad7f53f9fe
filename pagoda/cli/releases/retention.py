"""`pagoda retention`: delete what nothing needs any more."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

if TYPE_CHECKING:
    from pagoda.erasure.partitions import OldInteractions
    from pagoda.generations.versions import VersionRecord
    from pagoda.registry.retention import Removals
    from pagoda.settings import Settings

app = typer.Typer()
_MEBIBYTE = 1 << 20


@app.command()
def retention(
    *,
    full_versions: Annotated[int, typer.Option(min=2, help="Full versions that stay, the stable one included.")] = 3,
    interactions: Annotated[
        int | None, typer.Option(min=1, help="Days that interactions stay in the dataset. Default: for ever.")
    ] = None,
    data: Annotated[str, typer.Option("--data", help="Dataset folder or URL; default: that of the events.")] = "",
    delete: Annotated[bool, typer.Option("--delete", help="Delete. Without it, only show what would go.")] = False,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Retire old generations, drop their collections and delete old versions' files; never what serves.

    With --interactions, old interactions of the dataset too; never what a version has not learned yet.
    """
    from pagoda.erasure.partitions import delete_partitions, plan_partitions
    from pagoda.erasure.pending import open_pending
    from pagoda.generations.release_log import open_log
    from pagoda.index.factory import open_collections
    from pagoda.registry.factory import open_registry
    from pagoda.registry.retention import RetentionPolicy, carry_out_retention, plan_retention, sizes
    from pagoda.rollout.curves.retention import old_samples
    from pagoda.rollout.curves.samples import GateSamples
    from pagoda.settings import lacking, load_settings
    from pagoda.updates.incremental import forget_pruned

    settings = load_settings(home)
    log, registry = open_log(settings), open_registry(settings)
    policy = RetentionPolicy(full_versions=full_versions)
    collections = None if lacking(settings, "index") else open_collections(settings)
    removals = plan_retention(log.state(), log.now(), policy, collections.names() if collections else ())
    size = sizes(registry, removals.versions, lambda record: _step_outputs(settings, record))
    dataset = settings.dataset(data) if interactions else ""
    if delete:
        removals = carry_out_retention(
            log,
            registry,
            policy,
            collections=collections.names if collections else tuple,
            drop=collections.drop if collections else _nothing_to_drop,
            step_outputs=lambda record: _step_outputs(settings, record),
        )
        forget_pruned(settings, log.state())
        open_pending(settings).settle()
    samples = GateSamples(settings.log_url)
    rollouts = old_samples(log, samples, removals.versions)
    for rollout in rollouts if delete else ():
        samples.forget(rollout)
    # After the versions: one that is gone needs none of them any more.
    old = plan_partitions(dataset, log.state(), log.now(), interactions) if interactions else None
    if old and delete:
        delete_partitions(dataset, old)
    if output == OutputFormat.JSON:
        further = {"interactions": {**asdict(old), "before": old.before.isoformat()}} if old else {}
        removed = {**asdict(removals), "gate_samples": rollouts, "bytes": size, "deleted": delete}
        typer.echo(json.dumps({**removed, **further}, indent=2))
    else:
        _show(removals, rollouts, size, deleted=delete)
        if old:
            _show_interactions(old, deleted=delete)


def _show_interactions(old: OldInteractions, *, deleted: bool) -> None:
    console = Console(highlight=False, markup=False)
    verb = "Deleted" if deleted else "Would delete (--delete does it)"
    dates = f"{len(old.partitions)} dates before {old.before}, {old.bytes / _MEBIBYTE:,.1f} MiB"
    console.print(f"{verb}: interactions of {dates}." if old.partitions else "No interactions to delete.")
    if old.waits:
        console.print(f"Later ones stay, old as they are: {old.waits}.")


def _step_outputs(settings: Settings, record: VersionRecord) -> str:
    return f"{settings.artifacts_url}/{record.key.replace(':', '/')}"


def _nothing_to_drop(name: str) -> None:
    """Without an index there is no collection, so this is never called."""


def _show(removals: Removals, rollouts: list[str], size: int, *, deleted: bool) -> None:
    console = Console()
    if not removals and not rollouts:
        console.print("Nothing to delete.")
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, what in {**asdict(removals), "gate samples": rollouts}.items():
        table.add_row(name, str(len(what)), Text(", ".join(str(one) for one in what) or "-"))
    console.print(table)
    verb = "Deleted" if deleted else "Would delete (--delete does it)"
    console.print(f"{verb}: {size / _MEBIBYTE:,.1f} MiB of files.", highlight=False)
