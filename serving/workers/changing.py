"""The item-change worker as a process."""

from __future__ import annotations

from typing import Annotated

import typer

from pagoda.cli.options import HomeOption
from pagoda.errors import ConfigError
from pagoda.item_changes.compaction import ItemCompaction
from pagoda.item_changes.log import item_log_url, open_item_log
from pagoda.registry.log import open_log
from pagoda.settings import load_settings
from pagoda.updates.items import Items
from serving import logs
from serving.workers.items import ItemWorker
from serving.workers.run import MetricsPort, follow_until_told


def main(
    home: HomeOption = None,
    poll: Annotated[float, typer.Option(min=0.01, help="Seconds between looks at the item log.")] = 0.25,
    metrics_port: MetricsPort = 0,
) -> None:
    """Bring item changes into every live collection and into the dataset."""
    settings = load_settings(home)
    logs.start(settings.logs)
    if not settings.milvus.uri:
        raise ConfigError(f"items: set milvus.uri (`pagoda up` does, in {settings.home}/endpoints.yaml)")
    log = open_log(settings)
    items = Items(settings, log)
    try:
        compaction = ItemCompaction(item_log_url(settings), settings.items.kept, key=settings.signing_key)
        worker = ItemWorker(log, open_item_log(settings), items, settings.events_dataset, compaction=compaction)
        follow_until_told(worker, poll, "items", metrics_port)
    finally:
        items.close()
