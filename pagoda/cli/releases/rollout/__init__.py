"""`pagoda rollout`: bring a generation to all users step by step, or back."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, YesOption

if TYPE_CHECKING:
    from pagoda.generations.release_log import ReleaseLog
    from pagoda.rollout.state.machine import Rollout

app = typer.Typer(name="rollout", help="Bring a generation to all users step by step, or back.", no_args_is_help=True)
ReasonOption = Annotated[str, typer.Option(help="Kept in the release log.")]


class BackendChoice(StrEnum):
    """Where generations run."""

    LOCAL = "local"
    KSERVE = "kserve"
    PODS = "pods"


@app.command()
def start(
    generation: Annotated[str, typer.Argument(help="The candidate, g3 or g3.5 for example.")],
    *,
    policy: Annotated[Path | None, typer.Option(help="YAML file, see docs/rollout.md. Default: the settings'.")] = None,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Begin the rollout of a generation; the driver carries it out."""
    from pagoda.generations.release_log import open_log
    from pagoda.rollout import commands
    from pagoda.rollout.policy import read_policy
    from pagoda.rollout.releasing import policy_for
    from pagoda.settings import load_settings

    settings = load_settings(home)
    log = open_log(settings)
    chosen = read_policy(policy) if policy else policy_for(settings, log.state(), generation)
    rollout = commands.start(log, generation, policy=chosen, by=_who())
    _say(f"Rollout {rollout.id} of {rollout.candidate} began; `pagoda rollout watch` shows it.", rollout, output)


@app.command()
def status(output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Show arms, traffic, gates with values and intervals, and what comes next and when."""
    from pagoda.cli.releases.rollout.tables import as_tables
    from pagoda.rollout.showing import as_json, see
    from pagoda.settings import load_settings

    seen = see(load_settings(home))
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(as_json(seen), indent=2))
    else:
        Console().print(as_tables(seen))


@app.command()
def watch(
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2.0, home: HomeOption = None
) -> None:
    """Show the status until the candidate is promoted (exit status 0) or rolled back (1)."""
    from pagoda.cli.releases.rollout.tables import follow
    from pagoda.settings import load_settings

    raise typer.Exit(0 if follow(load_settings(home), every, Console()) else 1)


@app.command()
def promote(
    reason: ReasonOption = "",
    *,
    yes: YesOption = False,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Promote without waiting for gates that measure quality, as soon as every part is whole and ready."""
    from pagoda.cli.releases.rollout.promotion import make_sure, what_it_overrules
    from pagoda.rollout import commands
    from pagoda.rollout.showing import DECIDED, see
    from pagoda.settings import load_settings

    seen, console = see(load_settings(home)), Console(stderr=output is OutputFormat.JSON)
    rollout = seen.rollout
    if rollout and rollout.phase not in DECIDED:  # Else `force` says what is wrong.
        console.print(what_it_overrules(seen, rollout))
        if not yes:
            words = ["--reason", reason] if reason else []
            words += ["--home", str(home)] if home else []
            make_sure(seen, rollout, ["pagoda", "rollout", "promote", *words, "--yes"], console=console)
    _act(home, output, "is promoted as soon as it is ready", lambda log: commands.force(log, by=_who(), reason=reason))


@app.command()
def pause(reason: ReasonOption = "", output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Take no further step until resumed; gates still roll back."""
    from pagoda.rollout import commands

    _act(home, output, "is paused", lambda log: commands.pause(log, by=_who(), reason=reason))


@app.command()
def resume(output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Go on after a pause."""
    from pagoda.rollout import commands

    _act(home, output, "goes on", lambda log: commands.resume(log, by=_who()))


@app.command()
def abort(reason: ReasonOption = "", output: OutputOption = OutputFormat.TABLE, home: HomeOption = None) -> None:
    """Take all traffic from the candidate at once; within the grace also after its promotion."""
    from pagoda.rollout import commands

    _act(home, output, "is rolled back", lambda log: commands.abort(log, by=_who(), reason=reason))


@app.command()
def history(
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many of the latest rollouts.")] = 10,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """List the rollouts, oldest first: how each went, when, and why."""
    from pagoda.cli.releases.rollout.past import past_as_table
    from pagoda.generations.release_log import open_log
    from pagoda.rollout.showing import past_as_json
    from pagoda.rollout.state.history import rollouts
    from pagoda.settings import load_settings

    found = rollouts(open_log(load_settings(home)))[-last:]
    if output is OutputFormat.JSON:
        typer.echo(json.dumps([past_as_json(one) for one in found], indent=2))
    elif found:
        Console().print(past_as_table(found))
    else:
        Console().print("There was no rollout yet; `pagoda rollout start` makes one.")


@app.command()
def gates(
    rollout: Annotated[str, typer.Argument(help="r12 for example. Default: the one that runs, or else the last.")] = "",
    *,
    plot: Annotated[Path | None, typer.Option(help="Draw values, intervals and limits into this file.")] = None,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Show what each gate of a rollout measured over its life, while it runs and after it ended."""
    from pagoda.cli.releases.rollout import curves
    from pagoda.generations.release_log import open_log
    from pagoda.rollout.curves.reading import curves_as_json, gate_curves
    from pagoda.rollout.curves.samples import GateSamples
    from pagoda.settings import load_settings

    settings = load_settings(home)
    found = gate_curves(open_log(settings), GateSamples(settings.log_url), rollout)
    if plot:
        curves.plot(found, plot)
    if output is OutputFormat.JSON:
        typer.echo(json.dumps(curves_as_json(found), indent=2))
    else:
        Console().print(curves.curves_as_tables(found))


@app.command()
def drive(
    *,
    backend: Annotated[
        BackendChoice | None, typer.Option(help="Where generations run [as the settings say, else local].")
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between looks.")] = 2.0,
    metrics_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of Prometheus metrics; 0: none.")] = 0,
    home: HomeOption = None,
) -> None:
    """Carry rollouts out until told to stop; any number of drivers may run at once."""
    import logging
    import signal
    import threading

    from pagoda.rollout.factory import open_driver
    from pagoda.rollout.loop import drive as go_on
    from pagoda.settings import load_settings
    from pagoda.telemetry.endpoint import serve_metrics

    settings, where = load_settings(home), backend.value if backend else ""
    driver, stop = open_driver(settings, where), threading.Event()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_metrics(metrics_port)
    go_on(driver, settings, where, every, stop)


def _act(home: Path | None, output: OutputFormat, what: str, act: Callable[[ReleaseLog], Rollout]) -> None:
    from pagoda.generations.release_log import open_log
    from pagoda.settings import load_settings

    rollout = act(open_log(load_settings(home)))
    _say(f"Rollout {rollout.id} of {rollout.candidate} {what}.", rollout, output)


def _say(words: str, rollout: Rollout, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        shown: dict[str, Any] = rollout.model_dump(mode="json", exclude={"policy"})
        typer.echo(json.dumps(shown, indent=2))
    else:
        Console().print(words, highlight=False)


def _who() -> str:
    return getpass.getuser()
