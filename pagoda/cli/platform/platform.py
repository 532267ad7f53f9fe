"""`pagoda up | down | status | logs`: the embedded platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pagoda.cli.fitted_table import Column, FittedTable
from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, ProfileChoice

if TYPE_CHECKING:
    from pagoda.standalone.platform import Platform
    from pagoda.standalone.status import ServiceStatus

app = typer.Typer()
_COLOURS = {"healthy": "green", "starting": "yellow", "not ready": "yellow", "restarting": "yellow", "stopped": "dim"}
_MEBIBYTE = 1 << 20


@app.command()
def up(
    services: Annotated[list[str] | None, typer.Argument(help="Services to start. Default: all.")] = None,
    *,
    profile: Annotated[
        ProfileChoice | None,
        typer.Option(
            help="compact: search and tower in recall, no Milvus, no TorchServe. Default: as before, or full."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all are healthy; they go on.")] = False,
    home: HomeOption = None,
) -> None:
    """Start MLflow, Milvus, Redis, TorchServe, recall, the workers and the rollout driver on this machine.

    With --profile compact, neither Milvus nor TorchServe; the home keeps its profile.
    """
    from serving.process import end_as_by_ctrl_c

    platform = _platform(home)
    end_as_by_ctrl_c()
    console = Console()
    try:
        with Live(console=console, auto_refresh=False, transient=False) as live:
            platform.up(
                services or None,
                profile=profile.value if profile else None,
                attached=not detach,
                report=lambda now: live.update(status_table(now), refresh=True),
            )
        _tell_doors(platform, console)
        _tell_caution(platform, console)
        if not detach:
            _run(platform, console)
    except KeyboardInterrupt:
        _stop(platform, console)


@app.command()
def down(home: HomeOption = None) -> None:
    """Stop the platform. Its state stays for the next `pagoda up`."""
    platform = _platform(home)
    was_up = platform.down()
    told = "Stopped." if was_up else f"There is no platform running in {platform.home}."
    Console(soft_wrap=True).print(told, highlight=False, markup=False)


@app.command()
def status(output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Show the services; the exit status is 0 when all are healthy or wait for a generation, else 1."""
    current = _platform(home).status()
    if output == OutputFormat.JSON:
        typer.echo(_json(current))
    else:
        Console().print(status_table(current))
    if any(service.health not in ("healthy", "not ready") for service in current):
        raise typer.Exit(1)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="Name of the service, as `pagoda status` shows it.")],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    home: HomeOption = None,
) -> None:
    """Print the log of a service."""
    from pagoda.standalone import logs as reading

    path = _platform(home).log(service)
    position = reading.size_of(path)
    typer.echo(reading.last_lines(path, lines))
    if follow:
        try:
            for text in reading.follow(path, position):
                typer.echo(text, nl=False)
        except KeyboardInterrupt:
            return


def _platform(home: Path | None) -> Platform:
    from pagoda.settings import load_settings
    from pagoda.standalone.platform import Platform

    return Platform(load_settings(home).home)


def _tell_doors(platform: Platform, console: Console) -> None:
    """Say what others could read, and still reach."""
    from pagoda.standalone.supervision.listening import reachable

    if platform.closed:
        told = f"Others could read {len(platform.closed)} files and folders, {platform.closed[0]} for example"
        console.print(f"{told}; now they cannot.", highlight=False, markup=False)
    for line in reachable(platform.home):
        console.print(line, highlight=False, markup=False)


def _tell_caution(platform: Platform, console: Console) -> None:
    from pagoda.index.factory import caution
    from pagoda.settings import load_settings

    if told := caution(load_settings(platform.home)):
        console.print(f"Caution: {told}.", highlight=False, markup=False)


def _run(platform: Platform, console: Console) -> None:
    """Say what changes until the platform is stopped, from here or by `pagoda down`."""
    console.print("The platform is up. Ctrl-C stops it.")
    last: dict[str, ServiceStatus] = {}

    def report(current: list[ServiceStatus]) -> None:
        for now in current:
            before = last.get(now.name)
            if before and (before.health, before.pid) != (now.health, now.pid):
                console.print(_change(before, now), highlight=False, markup=False)
            last[now.name] = now

    try:
        platform.watch(report)
        console.print("The platform was stopped.")
    finally:
        platform.down()


def _change(before: ServiceStatus, now: ServiceStatus) -> str:
    reason = f" ({now.problem})" if now.problem else ""
    if before.pid is not None and before.pid != now.pid:
        return f"{now.name}: pid {before.pid} ended; {now.health}, pid {now.pid or 'none'}{reason}"
    return f"{now.name}: {now.health}, pid {now.pid or 'none'}{reason}"


def _stop(platform: Platform, console: Console) -> None:
    console.print("Stopping; Ctrl-C again kills what is left.")
    try:
        platform.down()
    except KeyboardInterrupt:
        platform.kill()
    console.print("Stopped.")
    raise typer.Exit(0)


def status_table(current: list[ServiceStatus]) -> Group:
    """The services, one a line, and why one is not as it should be."""
    table = FittedTable(
        Column("service"),
        Column("health"),
        Column("pid", right=True, gives_way=2),
        Column("up", right=True),
        Column("RSS MiB", right=True, gives_way=1),
        Column("address", prose=24),
    )
    for service in current:
        alive = service.pid is not None
        table.add_row(
            service.name,
            Text(service.health, style=_COLOURS.get(service.health, "red")),
            str(service.pid or ""),
            _duration(service.uptime_seconds) if alive else "",
            f"{service.rss_bytes / _MEBIBYTE:.0f}" if alive else "",
            service.url if alive else "",
        )
        for name, url in service.further.items() if alive else ():
            table.add_row("", "", "", "", "", f"{url} ({name})")
    problems = [Text(f"{service.name}: {service.problem}", style="dim") for service in current if service.problem]
    return Group(table, *problems)


def _json(current: list[ServiceStatus]) -> str:
    import json
    from dataclasses import asdict

    return json.dumps([asdict(service) for service in current], indent=2)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02}:{whole % 60:02}"
