"""`pagoda url`: where a service of the embedded platform answers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption

app = typer.Typer()


@app.command()
def url(
    service: Annotated[str, typer.Argument(help="Name of the service, as `pagoda status` shows it.")],
    *,
    home: HomeOption = None,
) -> None:
    """Print the address of a service; on a terminal, of MLflow's pages one that opens them: it holds their password."""
    from pagoda.settings import load_settings
    from pagoda.standalone.platform import Platform

    typer.echo(Platform(load_settings(home).home).url(service, opening=sys.stdout.isatty()))
