"""`python -m serving.tower`: become the TorchServe of an installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pagoda.settings import load_settings
from serving.process import run
from serving.tower.batching import DEFAULT_BATCHING, Batching
from serving.tower.server import TowerServer


def main(
    *,
    inference: Annotated[str, typer.Option(help="Address of the inference API.")] = "http://127.0.0.1:8080",
    metrics: Annotated[str, typer.Option(help="Address of the Prometheus metrics.")] = "http://127.0.0.1:8082",
    management: Annotated[
        str, typer.Option(help="Address of the management API. Default: a Unix socket in a private folder.")
    ] = "",
    store: Annotated[Path | None, typer.Option(help="Folder of model archives. Default: archives/ below home.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers of each model version.")] = DEFAULT_BATCHING.workers,
    batch_size: Annotated[int, typer.Option(min=1, help="Calls a worker computes at once.")] = DEFAULT_BATCHING.size,
    batch_delay_ms: Annotated[
        int, typer.Option(min=0, help="How long a batch waits for more.")
    ] = DEFAULT_BATCHING.delay_ms,
) -> None:
    """Replace this process by TorchServe; home and tables come from the settings."""
    home = load_settings().home
    batching = Batching(workers, batch_size, batch_delay_ms)
    server = TowerServer(home, store or home / "archives", inference, metrics, management, batching)
    folder = server.prepare()
    command, environment = server.command(), server.environment()
    os.chdir(folder)
    os.execve(command[0], command, environment)  # noqa: S606


if __name__ == "__main__":
    run(main)
