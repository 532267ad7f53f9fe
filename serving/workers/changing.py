"""The item-change worker as a process."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.errors import ConfigError, PagodaError
from pagoda.registry.items import open_item_log
from pagoda.registry.log import open_log
from pagoda.settings import load_settings
from pagoda.updates.items import Items
from serving.workers.items import ItemWorker
from serving.workers.run import MetricsPort, follow_until_told


def main() -> None:
    """Run the worker until it is told to stop; an error made for people is printed as one line."""
    try:
        typer.run(_main)
    except PagodaError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def _main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the item log.")] = 0.25,
    metrics_port: MetricsPort = 0,
) -> None:
    """Bring item changes into every live collection and into the dataset."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings(home)
    if not settings.milvus.uri:
        raise ConfigError(f"items: set milvus.uri (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    log = open_log(settings)
    items = Items(settings, log)
    try:
        worker = ItemWorker(log, open_item_log(settings), items, settings.events_dataset)
        follow_until_told(worker, poll, "items", metrics_port)
    finally:
        items.close()
