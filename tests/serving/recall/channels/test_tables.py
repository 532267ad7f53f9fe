"""A generation that declares channels: filter, seen and removed items hold in each; a dead one costs its items."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.channels.base import TableSource
from pagoda.channels.factory import TABLES, write_tables
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.data.window import Window, to_us
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Artifact, Manifest, Mixture
from pagoda.index.build import build_collection
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.in_process.search import FolderSearch
from pagoda.settings import CollectionConfig
from pagoda.storage.inventory import take_inventory
from serving.recall.channels.merge import merge
from serving.recall.channels.tables import TableChannels
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.fallback.steps import TOWERS
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.batching import JoinedIndex
from tests.data.folders import write_dataset
from tests.item_vectors.worlds import SPEC, items_table, unit_vectors, write_vectors
from tests.serving.fakes import NOTHING, manifest
from tests.serving.recall.channels.test_channels import Stub
from tests.serving.recall.setting import begun

ITEMS, K = 60, 12
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A generation with its tables and its collection, as a full update makes them."""
    folder = tmp_path_factory.mktemp("generation")
    items = items_table(ITEMS).to_pylist()
    data = write_dataset(folder / "data", parts=[("date=2024-05-02", clicks())], users=[], items=items, spec=SPEC)
    write_vectors(folder / "v.parquet", ITEMS)
    window = Window(start=END - timedelta(days=1), end=END)
    write_tables(folder / TABLES, CONFIG.channels, TableSource(Dataset.open(data), window, np.arange(ITEMS)))
    build_collection(
        FolderCollections(folder / "index"),
        "items",
        folder / "v.parquet",
        SPEC,
        queries=unit_vectors(5),
        config=CollectionConfig(kind="FLAT"),
    )
    files = take_inventory(folder / TABLES)
    tables = {name: Artifact(uri=f"{folder / TABLES}/{name}", checksum=checksum) for name, checksum in files.items()}
    mixture = Mixture(channels=CONFIG.channels, merging=CONFIG.merging, tables=tables)
    vectors = Artifact(uri=str(folder / "v.parquet"), checksum=NOTHING.checksum)
    return manifest(3, SPEC).model_copy(
        update={"mixture": mixture, "item_vectors": vectors, "collection": "items", "dim": VECTORS.shape[1]}
    )


async def answered(
    made: Manifest,
    *,
    removed: frozenset[int] = frozenset(),
    changed: dict[int | str, bytes] | None = None,
    towers: Any = None,
    **fields: Any,
) -> Lookup:
    folder = Path(made.item_vectors.uri).parent
    live, tables = LiveGeneration(made), TableChannels(removed, changed)
    await tables.warm(live)
    (lookup,) = begun(live, k=K, timestamp=to_us(END), **fields)
    lookup.vectors = (VECTORS[0].tolist(),)
    await merge((towers or TwoTowerChannel(JoinedIndex(FolderSearch(folder / "index"))),), live, lookup, tables)
    return lookup


def by_channel(lookup: Lookup) -> dict[str, set[int | str]]:
    names = ("two_tower", "item_to_item", "popular")
    return {name: {one["item_id"] for one in lookup.items if name in one["channels"]} for name in names}


PAST = [{"item_id": 21, "timestamp": to_us(END) - 1}]
"""Who chose item 21 chose item 40."""


async def test_items_come_from_all_channels_and_say_which(made: Manifest) -> None:
    lookup = await answered(made, history=PAST)
    found = by_channel(lookup)
    assert len({one["item_id"] for one in lookup.items}) == K
    assert 40 in found["item_to_item"] & found["popular"]
    assert len(found["two_tower"]) >= K // 4 and len(found["popular"]) >= K // 4
    assert not lookup.degraded
    newcomer = by_channel(await answered(made))
    assert not newcomer["item_to_item"]
    assert len(newcomer["popular"]) >= K // 2


async def test_filter_and_seen_and_removed_items_hold_in_every_channel(made: Manifest) -> None:
    wanted = {"kind": "kind 0"}
    fine = {row["item_id"] for row in items_table(ITEMS).to_pylist() if row["kind"] == "kind 0"}
    assert 40 in fine
    found = by_channel(await answered(made, history=PAST, filter=wanted))
    assert all(items <= fine for items in found.values())
    assert 40 in found["item_to_item"] & found["popular"]
    seen = [*PAST, {"item_id": 40, "timestamp": 5}]
    for lookup in (
        await answered(made, history=seen, exclude_seen=True),
        await answered(made, removed=frozenset({40})),
    ):
        assert 40 not in by_channel(lookup)["popular"] | by_channel(lookup)["item_to_item"]
    # What it is now, the index alone knows.
    changed = await answered(made, history=PAST, filter=wanted, changed={40: b"{}"})
    assert 40 not in by_channel(changed)["popular"] | by_channel(changed)["item_to_item"]
    assert 40 in by_channel(await answered(made, history=PAST, changed={40: b"{}"}))["popular"]


async def test_a_table_that_is_damaged_costs_its_items_and_nothing_else(made: Manifest) -> None:
    assert made.mixture
    tables = {
        name: file.model_copy(update={"checksum": "xxh3:0"}) if name.startswith("popular/") else file
        for name, file in made.mixture.tables.items()
    }
    damaged = made.model_copy(update={"mixture": made.mixture.model_copy(update={"tables": tables})})
    lookup = await answered(damaged, history=PAST)
    assert lookup.degraded == ["popular_missing"]
    assert len(lookup.items) == K
    assert 40 in by_channel(lookup)["item_to_item"]


async def test_without_the_towers_the_other_channels_answer_where_anything_may_stand_in(made: Manifest) -> None:
    gone = Stub("two_tower", UnavailableError("gone"))
    with pytest.raises(UnavailableError, match="gone"):
        await answered(made, history=PAST, towers=gone)
    live, tables = LiveGeneration(made), TableChannels()
    await tables.warm(live)
    (lookup,) = begun(live, k=K, history=PAST)
    await merge((gone, Stub("stand-in", stands_in="index_popular")), live, lookup, tables)
    assert lookup.degraded == [TOWERS]
    assert 40 in by_channel(lookup)["popular"]


def test_a_manifest_without_channels_says_nothing_of_them(made: Manifest) -> None:
    assert "mixture" not in manifest(3, FeatureSpec()).model_dump(mode="json")
    assert Manifest.model_validate_json(made.model_dump_json()) == made
