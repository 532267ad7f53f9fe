"""A generation of several channels, with its tables and its collection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from pagoda.channels.base import TableSource
from pagoda.channels.factory import TABLES, with_table, write_tables
from pagoda.config.training import TrainConfig, parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.generations.manifest import Artifact, Manifest, Mixture
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.settings import CollectionConfig
from pagoda.storage.inventory import take_inventory
from tests.data.folders import write_dataset
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors
from tests.serving.fakes import NOTHING, manifest

ITEMS = 60
END = datetime(2024, 5, 3, tzinfo=UTC)
CONFIG = parse_config(
    "channels: [{kind: two_tower, share: 0.5, cold_share: 0.25}, {kind: item_to_item, share: 0.25, cold_share: 0.25}, "
    "{kind: popular, share: 0.25, cold_share: 0.5}]"
)
VECTORS = unit_vectors(ITEMS)


def clicks() -> list[dict[str, Any]]:
    """Users 1 to 20 chose item 40, and in pairs one of 21 to 30."""
    at = END - timedelta(hours=5)
    pairs = [(user, item) for user in range(1, 21) for item in (40, 20 + (user + 1) // 2)]
    return [
        {"user_id": user, "item_id": item, "event": "click", "timestamp": at + timedelta(minutes=place)}
        for place, (user, item) in enumerate(pairs)
    ]


def make_generation(folder: Path, config: TrainConfig = CONFIG) -> Manifest:
    """Its tables and its collection (`folder / "index"`), as a full update makes them."""
    items = items_table(ITEMS).to_pylist()
    data = write_dataset(folder / "data", parts=[("date=2024-05-02", clicks())], users=[], items=items, spec=SPEC)
    write_vectors(folder / "v.parquet", ITEMS)
    window = Window(start=END - timedelta(days=1), end=END)
    source = TableSource(Dataset.open(data), window, np.arange(ITEMS), lambda: VECTORS)
    write_tables(folder / TABLES, config.channels, source)
    build_collection(
        FolderCollections(folder / "index"),
        "items",
        folder / "v.parquet",
        SPEC,
        queries=unit_vectors(5),
        config=CollectionConfig(kind="FLAT"),
    )
    files = take_inventory(folder / TABLES) if with_table(config.channels) else {}
    tables = {name: Artifact(uri=f"{folder / TABLES}/{name}", checksum=checksum) for name, checksum in files.items()}
    mixture = Mixture(channels=config.channels, merging=config.merging, tables=tables)
    vectors = Artifact(uri=str(folder / "v.parquet"), checksum=NOTHING.checksum)
    return manifest(3, SPEC).model_copy(
        update={"mixture": mixture, "item_vectors": vectors, "collection": "items", "dim": VECTORS.shape[1]}
    )
