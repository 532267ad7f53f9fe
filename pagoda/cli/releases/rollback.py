"""`pagoda rollback`: back to the generation that was stable before."""

from __future__ import annotations

from typing import Annotated

import typer

from pagoda.cli.options import HomeOption, OutputFormat, OutputOption, YesOption
from pagoda.cli.releases.publish import WaitOption, show_and_carry_out

app = typer.Typer()


@app.command()
def rollback(
    *,
    to: Annotated[str | None, typer.Option(help="Generation to go back to [the one that was stable before].")] = None,
    yes: YesOption = False,
    wait: WaitOption = 120.0,
    output: OutputOption = OutputFormat.TABLE,
    home: HomeOption = None,
) -> None:
    """Go back to an earlier generation, all at once; a canary ends."""
    from pagoda.generations.release_log import open_log
    from pagoda.registry.publish import plan_rollback
    from pagoda.settings import load_settings

    settings = load_settings(home)
    log = open_log(settings)
    show_and_carry_out(settings, log, plan_rollback(log.state(), to), yes=yes, wait=wait, output=output)
