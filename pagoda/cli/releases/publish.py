"""`pagoda publish`: let a generation serve, after showing what will change."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, YesOption

if TYPE_CHECKING:
    from pagoda.generations.release_log import ReleaseLog
    from pagoda.registry.publish import Plan
    from pagoda.registry.serving_changes import Change
    from pagoda.settings import Settings

app = typer.Typer()
WaitOption = Annotated[float, typer.Option(min=0, help="Seconds that the tower's host may take to bring it.")]


@app.command()
def publish(
    generation: Annotated[str, typer.Argument(help="The generation, g3 or g3.5 for example.")],
    *,
    canary: Annotated[bool, typer.Option("--canary", help="To the canary of the rollout in progress.")] = False,
    yes: YesOption = False,
    wait: WaitOption = 120.0,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Make a generation the stable one, all at once; `pagoda rollout start` goes step by step."""
    from pagoda.generations.release_log import open_log
    from pagoda.registry.publish import plan_publish
    from pagoda.settings import load_settings

    settings = load_settings(home)
    log = open_log(settings)
    plan = plan_publish(log.state(), generation, "canary" if canary else "stable")
    show_and_carry_out(settings, log, plan, yes=yes, wait=wait, output=output)


def show_and_carry_out(
    settings: Settings, log: ReleaseLog, plan: Plan, *, yes: bool, wait: float, output: OutputFormat
) -> None:
    """Show a plan, ask, check, make the change, and write the aliases."""
    from pagoda.registry.factory import open_registry
    from pagoda.registry.publish import carry_out, write_aliases
    from pagoda.registry.serving_changes import changes_of
    from pagoda.rollout.releasing import release_checks

    changes = changes_of(log.state(), plan)
    if output == OutputFormat.TABLE:
        _show(plan, changes)
    if changes and not yes:
        typer.confirm("Go on?", abort=True, err=output == OutputFormat.JSON)
    record = carry_out(log, plan, checks=release_checks(settings, log.state(), wait))
    if output == OutputFormat.JSON:
        typer.echo(json.dumps(_as_json(log, changes, record.number if record else None), indent=2))
    elif record:
        Console().print(f"{plan.generation.id} answers now, by record {record.number}.", highlight=False)
    write_aliases(log, open_registry(settings))


def _show(plan: Plan, changes: list[Change]) -> None:
    console = Console()
    if not changes:
        console.print(f"{plan.generation.id} answers already; nothing changes.", highlight=False)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("arm", "", "now", "after"):
        table.add_column(name, overflow="fold")
    for change in changes:
        table.add_row(change.arm, change.what, Text(change.before or "-"), Text(change.after or "-"))
    console.print(table)


def _as_json(log: ReleaseLog, changes: list[Change], record: int | None) -> dict[str, object]:
    arms = log.state().arms.model_dump()
    return {"record": record, "arms": arms, "changes": [asdict(change) for change in changes]}
