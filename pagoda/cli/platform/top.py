"""`pagoda top`: a recall service as it is now, from its metrics."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption

app = typer.Typer()


@app.command()
def top(
    url: Annotated[str, typer.Argument(help="Base URL of the recall service. Default: this installation's.")] = "",
    *,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, print, and end; so does JSON.")] = False,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Watch requests, arms, stages, what stands in and breakers; Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from pagoda.access.tokens import token_for
    from pagoda.errors import ConfigError, UnavailableError
    from pagoda.settings import load_settings
    from pagoda.telemetry.scrape import MetricChange, look
    from pagoda.telemetry.service_state import state_of
    from pagoda.telemetry.tables import as_tables

    settings = load_settings(home)
    url = url or settings.recall.url
    if not url:
        raise ConfigError(f"top: give the URL of a recall service; none is known in {settings.home}")
    token = token_for(settings, "watch", url)
    console, before = Console(), look(url, token)
    if once or output is OutputFormat.JSON:
        time.sleep(every)
        state = state_of(MetricChange(before, look(url, token)), url)
        if output is OutputFormat.JSON:
            typer.echo(state.model_dump_json(indent=2))
        else:
            console.print(as_tables(state))
        return
    try:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                time.sleep(every)
                try:
                    now = look(url, token)
                except UnavailableError as error:
                    live.update(Text(str(error), style="red"), refresh=True)
                    continue
                live.update(as_tables(state_of(MetricChange(before, now), url)), refresh=True)
                before = now
    except KeyboardInterrupt:
        return
