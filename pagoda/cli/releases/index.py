"""`pagoda index`: the collection of what serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, ProfileChoice

if TYPE_CHECKING:
    from pagoda.standalone.platform import Platform

app = typer.Typer(name="index", help="The collection of what serves.", no_args_is_help=True)


@app.command()
def rebuild(
    *,
    profile: Annotated[
        ProfileChoice | None, typer.Option(help="Make this the home's profile, too; its platform must be down.")
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Build the serving generation's collection in the search backend of the settings, and release it from there.

    Rollouts and publishes do not lead from one backend to another; this does. Start recall again afterwards.
    """
    from pagoda.rollout.backend_move import rebuild as carry_out
    from pagoda.settings import load_settings
    from pagoda.standalone.platform import Platform
    from pagoda.standalone.profiles import profile_chosen

    platform = Platform(load_settings(home).home)
    if profile:
        platform.require_down(f"--profile {profile.value}")
    with profile_chosen(platform.home, profile.value if profile else None), _milvus(platform):
        moved = carry_out(load_settings(platform.home), _say if output is OutputFormat.TABLE else None)
    manifest, report = moved.manifest, moved.report
    if output is OutputFormat.JSON:
        built = report.model_dump(mode="json") if report else None
        typer.echo(json.dumps({"generation": manifest.id, "backend": manifest.backend, "index": built}, indent=2))
        return
    if report is None:
        told = f"{manifest.id} is in {manifest.backend} already; nothing changes."
    else:
        told = (
            f"{manifest.id} serves from {manifest.backend}: {report.rows:,} items, recall@100 against exact search "
            f"{report.recall_at_100:.4f}. Recall takes it in when it is started again."
        )
    Console(soft_wrap=True).print(told, highlight=False)


@contextmanager
def _milvus(platform: Platform) -> Iterator[None]:
    """While the block runs, this home's own Milvus does, too, if the settings want one and it does not run anyway."""
    states = {status.name: status for status in platform.status()}
    if "milvus" not in states or states["milvus"].pid is not None:
        yield
        return
    platform.require_down("Milvus is started for the rebuild")
    try:
        platform.up(["milvus"], attached=True)
        yield
    finally:
        platform.down()


def _say(stage: str, done: int, rows: int) -> None:
    if done == rows:
        typer.echo(f"{stage}: {rows:,} items", err=True)
