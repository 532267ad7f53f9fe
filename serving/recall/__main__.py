"""`python -m serving.recall`: the recall service of an installation, with what takes events and item changes.

The two meet here alone: they know nothing of each other, and share a process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from pagoda.settings import load_settings
from serving import logs, tracing
from serving.events.factory import taking
from serving.process import run
from serving.recall.server import serve


def main(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    items_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that item changes are taken at; 0: they are not taken here.")
    ] = 0,
    certificate: Annotated[
        Path | None, typer.Option(help="Folder with tls.crt and tls.key: TLS, and nothing else, at every port.")
    ] = None,
) -> None:
    """Serve recall; where its parts are comes from the settings."""
    settings = load_settings()
    logs.start(settings.logs)
    tracing.start("recall", settings.tracing)
    uvloop.run(serve(settings, host, port, taking, items_port=items_port, certificate=certificate))


if __name__ == "__main__":
    run(main)
