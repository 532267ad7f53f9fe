"""`python -m serving.tower.kserve`: the user tower on KServe's model server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
import uvloop
from prometheus_client import start_http_server

from pagoda.errors import ConfigError
from pagoda.model.program_file import import_reader
from pagoda.settings import load_settings
from serving import logs, tracing
from serving.http.certificate import Certificate
from serving.process import run
from serving.tower.kserve.server import listener_at, serve
from serving.tower.kserve.versions import LoadedVersions


def main(
    *,
    inference: Annotated[
        str, typer.Option(envvar="PAGODA_TOWER_INFERENCE", help="Where it answers: unix:/path or http(s)://host:port.")
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="Folder with tls.crt and tls.key, for an https address.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder of model archives that a platform brings. Default: archives/ below home, which the follower "
            "fills."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Requests that are computed at once, at most.")] = 16,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port that Prometheus is answered on, on every address; 0: none.")
    ] = 0,
) -> None:
    """Serve the user tower; home and tables come from the settings."""
    settings = load_settings()
    logs.start(settings.logs)
    tracing.start("tower", settings.tracing)
    if not inference:
        raise ConfigError("inference address: none is given; unix:/path, or http(s)://host:port on a cluster")
    if inference.startswith("https:") != bool(certificate):
        raise ConfigError(f"inference address {inference}: https:// needs a certificate's folder, and no other has one")
    shown = Certificate(certificate) if certificate else None
    # Several threads fight over the cores that others need, for a network this small.
    torch.set_num_threads(1)
    import_reader()
    store = store or settings.home / "archives"
    store.mkdir(parents=True, exist_ok=True)
    if metrics_port:
        start_http_server(metrics_port)
    versions = LoadedVersions(store, settings.tables_folder)
    uvloop.run(serve(versions, listener_at(inference), batch_size, shown))


if __name__ == "__main__":
    run(main)
