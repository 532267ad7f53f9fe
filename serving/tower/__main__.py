"""`python -m serving.tower`: become the TorchServe of an installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pagoda.settings import load_settings
from serving import logs
from serving.process import run
from serving.tower.archive_trust import await_checksums
from serving.tower.batching import DEFAULT_BATCHING, Batching
from serving.tower.torchserve_process import INFERENCE, TowerServer


def main(
    *,
    inference: Annotated[
        str,
        typer.Option(
            envvar=INFERENCE,
            help="Address of the inference API. Default, here and below: a Unix socket in a private folder.",
        ),
    ] = "",
    certificate: Annotated[
        Path | None, typer.Option(help="Folder with tls.crt and tls.key, for an https address.")
    ] = None,
    metrics: Annotated[str, typer.Option(help="Address of the Prometheus metrics.")] = "",
    management: Annotated[str, typer.Option(help="Address of the management API, a Unix socket.")] = "",
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder of model archives that a platform brings; it starts when a follower has said what they must "
            "be. Default: archives/ below home, which the follower fills."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers of each model version.")] = DEFAULT_BATCHING.workers,
    batch_size: Annotated[int, typer.Option(min=1, help="Calls a worker computes at once.")] = DEFAULT_BATCHING.size,
    batch_delay_ms: Annotated[
        int, typer.Option(min=0, help="How long a batch waits for more.")
    ] = DEFAULT_BATCHING.delay_ms,
) -> None:
    """Replace this process by TorchServe; home and tables come from the settings."""
    settings = load_settings()
    home, tables = settings.home, settings.tables_folder
    logs.start(settings.logs)
    batching = Batching(workers, batch_size, batch_delay_ms)
    server = TowerServer(
        home, store or home / "archives", tables, inference, metrics, management, batching, certificate
    )
    folder = server.prepare()
    if store:
        await_checksums(store, tables)
    command, environment = server.command(), server.environment()
    os.chdir(folder)
    os.execve(command[0], command, environment)  # noqa: S606


if __name__ == "__main__":
    run(main)
