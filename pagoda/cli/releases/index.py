"""`pagoda index`: which collections there are, moving what serves, and what one of another kind or size would take."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, ProfileChoice

if TYPE_CHECKING:
    from pagoda.index.plan import PlannedIndex
    from pagoda.standalone.platform import Platform

app = typer.Typer(name="index", help="Collections: which there are, and what others would take.", no_args_is_help=True)


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


@app.command("list")
def list_(output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """List every collection in the search backend: who uses it, its items, and how far item changes are in it."""
    from pagoda.cli.releases.collections import collections_as_table
    from pagoda.index.listing import collection_as_json, list_collections
    from pagoda.settings import load_settings

    found = list_collections(load_settings(home))
    if output is OutputFormat.JSON:
        typer.echo(json.dumps([collection_as_json(one) for one in found], indent=2))
    elif found:
        Console().print(collections_as_table(found))
    else:
        Console().print("There is no collection yet; a full update builds one.")


@app.command()
def plan(
    *,
    items: Annotated[float, typer.Option(min=1, max=1e15, help="How many items; 1e9 is a number, too.")],
    dim: Annotated[
        int,
        typer.Option(
            min=1, help="Numbers of a vector in the collection: model.dim, one more with rules; or index.dim."
        ),
    ],
    memory: Annotated[str, typer.Option(help="What there is for collections: 256GB, 64GiB.")],
    changed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the items that change between two full updates.")
    ] = 0.01,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say which backend and kind of index fit into memory, what an item takes, and what recall was measured of it.

    Two generations have to fit: both serve while a rollout lasts.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from pagoda.errors import ConfigError
    from pagoda.index.plan import IndexPlan, read_evidence

    try:
        available = TypeAdapter(ByteSize).validate_python(memory)
    except ValidationError:
        raise ConfigError(f"--memory {memory!r}: expected bytes with their unit, like 256GB or 64GiB") from None
    ways = IndexPlan(round(items), dim, available, changed, read_evidence()).ways()
    if output is OutputFormat.JSON:
        asked = {"items": round(items), "dim": dim, "memory_bytes": available, "changed": changed}
        typer.echo(json.dumps({**asked, "profiles": [way.model_dump(mode="json") for way in ways]}, indent=2))
        return
    console = Console(soft_wrap=True)
    console.print(_planned(ways))
    if not any(way.fits for way in ways):
        console.print("None fits: more memory, a Milvus cluster, or vectors of fewer numbers.", highlight=False)


def _planned(ways: Sequence[PlannedIndex]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("backend", "kind × refine", "an item", "one", "two", "fits", "recall@100 of"):
        table.add_column(column, justify="right" if column in ("an item", "one", "two") else "left", no_wrap=True)
    for way in ways:
        table.add_row(
            way.backend,
            f"{way.kind} × {way.refine}" if way.refine > 1 else way.kind,
            f"{way.bytes_per_item['memory']:,.0f} B",
            _size(way.generation_bytes),
            _size(way.rollout_bytes),
            "yes" if way.fits else "no",
            _recall(way),
        )
    return table


def _recall(way: PlannedIndex) -> str:
    if way.kind == "FLAT":
        return "exact"
    return f"{way.measured.recall_at_100:.3f} {way.measured.items:,}" if way.measured else "not measured"


def _size(count: int) -> str:
    units = ("B", "kB", "MB", "GB", "TB")
    power = min(len(units) - 1, max(0, len(str(count)) - 1) // 3)
    return f"{count / 1000**power:,.1f} {units[power]}"


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
