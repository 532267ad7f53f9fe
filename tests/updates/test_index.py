"""The index that the settings describe is the one that a full update builds and that recall searches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from pagoda.errors import GateError
from pagoda.generations.release_log import open_log
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.index.milvus.search import MilvusSearch
from pagoda.item_changes.changes import upserted
from pagoda.item_vectors.changed_columns import VECTORS, ChangedColumns
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.registry.publish import publish
from pagoda.rollout.measures.candidate import measure
from pagoda.settings import CollectionConfig, IndexSettings, MilvusSettings, RegistrySettings, Settings
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.item_replay import ItemReplay
from tests.item_vectors.worlds import SPEC, unit_vectors, write_vectors
from tests.training.worlds import CONFIG, make

pytestmark = pytest.mark.integration
CLUSTERS = CollectionConfig(kind="IVF_FLAT", nlist=300, effort=300)
CODES = IndexSettings(kind="IVF_SQ8", nlist=300, effort=300, refine=20, dim=6)


def test_a_full_update_builds_the_index_of_the_settings(collections: MilvusCollections, tmp_path: Path) -> None:
    settings = Settings(
        home=tmp_path / "home",
        milvus=MilvusSettings(uri=collections.uri),
        registry=RegistrySettings(model="configured"),
        index=CODES,
    )
    name = _run(settings, str(make(tmp_path / "data").path))
    assert '"kind":"IVF_SQ8","nlist":300,"dim":6}' in collections.description(name)
    with collections._connection.client("index state", name) as client:
        built = client.describe_index(name, "vector")
    assert (built["index_type"], int(built["nlist"])) == ("IVF_SQ8", 300)

    manifest = open_log(settings).state().generation("g1")
    assert manifest.originals, "what is found by codes is scored again by them"
    evidence = measure(settings, manifest, None)
    assert evidence.ann_recall >= 0.98
    assert len(set(evidence.checksums["original vectors"])) == 1
    rows = collections.count(name)
    changed, items = ChangedColumns(manifest.originals.vectors.uri), ItemReplay(settings, open_log(settings))
    assert changed.newest() == 0
    items.apply(manifest, [upserted(manifest.spec, {"item_id": 9_999}, "item")], 1)
    assert collections.count(name) == rows + 1
    ids, columns = changed.read(1) or pytest.fail("the change of an item has not reached them")
    assert (ids.tolist(), columns[VECTORS].shape, manifest.dim) == ([9_999], (1, CONFIG.model.dim), 6)


def _run(settings: Settings, dataset: str) -> str:
    """A full update up to its offer; the name of its collection."""
    update = FullUpdate.resolve(settings, dataset, "")
    full_steps.train(update, yaml.safe_dump(CONFIG.model_dump(mode="json")))
    full_steps.register(update)
    full_steps.export_vectors(update)
    name = full_steps.build_index(update).name
    full_steps.package_tower(update, lambda _files, _version, folder: (folder / "pagoda.mar").touch())
    full_steps.offer(update)
    return name


def test_a_serving_collection_that_milvus_has_lost_is_built_again(
    collections: MilvusCollections, tmp_path: Path
) -> None:
    milvus, registry = MilvusSettings(uri=collections.uri), RegistrySettings(model="restored")
    settings = Settings(home=tmp_path / "home", milvus=milvus, registry=registry)
    dataset = str(make(tmp_path / "data").path)
    name = _run(settings, dataset)
    publish(open_log(settings), "g1", "stable")
    rows = collections.count(name)
    collections.drop(name)
    assert _run(settings, dataset) == name
    assert collections.count(name) == rows > 0


def test_a_collection_that_may_serve_keeps_its_item_changes_when_the_update_runs_again(
    collections: MilvusCollections, tmp_path: Path
) -> None:
    """A shadow's, say, or one that was rolled back a minute ago: neither is an arm's, and both are being searched."""
    milvus, registry = MilvusSettings(uri=collections.uri), RegistrySettings(model="changed")
    settings = Settings(home=tmp_path / "home", milvus=milvus, registry=registry)
    dataset = make(tmp_path / "data")
    name = _run(settings, str(dataset.path))
    rows = collections.count(name)
    collections.delete(name, dataset.items()["item_id"].to_numpy()[:1])
    assert _run(settings, str(dataset.path)) == name
    assert collections.count(name) == rows - 1


def test_recall_searches_with_the_effort_of_the_settings(collections: MilvusCollections, tmp_path: Path) -> None:
    path, queries = tmp_path / "item_vectors.parquet", unit_vectors(20, seed=3)
    write_vectors(path, 3000)
    build_collection(collections, "efforts", path, SPEC, queries=queries, config=CLUSTERS)

    async def found(effort: int) -> set[tuple[int, int]]:
        index = MilvusSearch(collections.uri, "", 15.0, effort)
        answers = await index.search("efforts", queries.tolist(), 20, wanted=EVERYTHING, excluded=(), keys=False)
        await index.close()
        return {(row, int(item["item_id"])) for row, items in enumerate(answers) for item in items}

    little, everything = asyncio.run(found(1)), asyncio.run(found(300))
    assert len(everything) == 400
    assert len(little & everything) < 350


def test_a_recall_that_is_too_low_names_the_setting(collections: MilvusCollections, tmp_path: Path) -> None:
    path = tmp_path / "item_vectors.parquet"
    write_vectors(path, 3000)
    with pytest.raises(GateError, match=r"required 0\.98 \(index\.minimum_recall\); raise index\.effort \(1\)"):
        build_collection(
            collections,
            "poor",
            path,
            SPEC,
            queries=unit_vectors(20, seed=3),
            config=CLUSTERS.model_copy(update={"effort": 1}),
        )
