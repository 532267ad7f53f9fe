"""Item changes reach every live collection, those that were being built, and the dataset, on a real Milvus."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Numeric
from pagoda.errors import DataError, IntegrityError
from pagoda.generations.arms import Arms
from pagoda.generations.creation import create_generation
from pagoda.generations.manifest import Artifact, Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.versions import VersionDraft, full_key
from pagoda.index.build import build_collection
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.item_changes.changes import items_table, removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.registry.publish import publish
from pagoda.settings import MilvusSettings, Settings
from pagoda.training.full.update import full_update
from pagoda.updates.item_replay import ItemReplay, replay
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.workers.items import ItemWorker
from tests.data.folders import write_dataset
from tests.serving import fakes
from tests.training import worlds

pytestmark = pytest.mark.integration
SPEC = FeatureSpec(
    history=None,
    features=(
        MultiValued(name="tags", tower="item", max_values=3, filterable=True),
        Numeric(name="price", tower="item", edges=(10, 20), filterable=True),
    ),
)
SECONDS = 5.0
"""What issue 7 allows."""


@dataclass
class Installation:
    """A dataset, versions of it and their collections."""

    settings: Settings
    dataset: Path
    collections: MilvusCollections

    @property
    def log(self) -> ReleaseLog:
        return ReleaseLog(self.settings.log_url)

    @property
    def item_log(self) -> ItemLog:
        return ItemLog(f"{self.settings.log_url}/items")

    def version(self) -> tuple[int, FullVersionFiles]:
        """Train and register a full version."""
        data, number = Dataset.open(self.dataset), len(self.log.state().versions) + 1
        window = worlds.hours(0, 30 + number)
        out = self.settings.home / f"model-{number}"
        files = full_update(data, window, None, worlds.config(bootstrap_epochs=1, negatives={"uniform": 0}), out)
        draft = VersionDraft(
            key=full_key(window, None), update="full", window=window, folder=files.folder, state_folder=files.state
        )
        return FolderRegistry(self.settings.home / "versions", self.log).register(draft).version, files

    def build(self) -> Manifest:
        """A generation that is recorded, with the items as the dataset has them now."""
        number, files = self.version()
        data = Dataset.open(self.dataset)
        path, made = self.settings.home / f"vectors-{number}.parquet", OpenVersion(files, data).item_vectors()
        with ItemVectorsWriter(path, data.spec, made.shape[1]) as writer:
            writer.write(data.items(), made)
        name = f"items_{uuid.uuid4().hex[:8]}"
        report = build_collection(self.collections, name, path, data.spec, queries=made[:5])
        return create_generation(
            self.log,
            number,
            tower=Artifact(uri="nowhere", checksum="xxh3:0"),
            item_vectors=Artifact(uri=str(path), checksum=report.checksum),
            collection=name,
            dim=report.dim,
            item_count=report.rows,
            spec=data.spec,
        )

    def worker(self) -> ItemWorker:
        """A worker that was just started."""
        items = ItemReplay(self.settings, self.log)
        return ItemWorker(self.log, self.item_log, items, str(self.dataset), dataset_seconds=0)

    def vectors(self, manifest: Manifest) -> dict[int, np.ndarray]:
        """What a search in the collection can find, each with its score for every axis."""
        axes = np.eye(manifest.dim, dtype=np.float32)
        found: dict[int, np.ndarray] = {}
        for axis, hits in enumerate(self.collections.search(manifest.collection, axes, 1000, effort=1000)):
            for item, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
                found.setdefault(item, np.zeros(manifest.dim, np.float32))[axis] = score
        return found

    def wanted(self) -> set[int]:
        """The items that every live collection should have."""
        wanted = set(range(100, 100 + worlds.ITEMS))
        for record in self.item_log.records():
            for change in record.changes:
                assert isinstance(change.item_id, int)
                (wanted.discard if change.features is None else wanted.add)(change.item_id)
        return wanted

    def agrees(self, manifest: Manifest) -> bool:
        """Whether a collection has them."""
        return self.vectors(manifest).keys() == self.wanted()

    def upsert(self, **item: Any) -> None:
        self.item_log.append([upserted(SPEC, item, "item")])

    def remove(self, *items: int) -> None:
        self.item_log.append([removed(SPEC, item, "item") for item in items])


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, milvus_uri: str) -> Iterator[Installation]:
    """Two live generations, of a dataset with items 100 to 139. Tests share it: change items of your own."""
    tmp_path = tmp_path_factory.mktemp("items")
    settings = Settings(home=tmp_path / "home", milvus=MilvusSettings(uri=milvus_uri))
    tagged = FeatureSpec(history=None, features=SPEC.features[:1])
    data = worlds.make(tmp_path / "dataset", tagged)
    _add_prices(data)
    collections = MilvusCollections(milvus_uri)
    made = Installation(settings, data.path, collections)
    for _ in range(2):
        publish(made.log, made.build().id, "stable")
    yield made
    for manifest in made.log.state().generations.values():
        collections.drop(manifest.collection)
    collections.close()


def _add_prices(data: Dataset) -> None:
    import pyarrow.parquet as pq

    from pagoda.data.spec import write_spec

    table = data.items().append_column("price", [[float(n) for n in range(worlds.ITEMS)]])
    pq.write_table(table, data.path / "items" / "part-0.parquet")
    write_spec(SPEC, data.path / "features.yaml")


def generations(installation: Installation) -> list[Manifest]:
    return list(installation.log.state().generations.values())


def soon(condition: Any) -> float:
    """Seconds until it holds."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < SECONDS
        time.sleep(0.02)
    return time.monotonic() - begin


def test_changes_reach_every_live_collection_within_seconds(
    installation: Installation, record_property: pytest.RecordProperty
) -> None:
    worker = installation.worker()
    first, second = generations(installation)[:2]
    before = [installation.vectors(manifest) for manifest in (first, second)]
    installation.upsert(item_id=500, tags=["k1"], price=12.5)
    installation.upsert(item_id=101, tags=["k3"], price=30)
    installation.remove(102, 999)
    begin = time.monotonic()
    assert worker.step() == 3
    soon(lambda: installation.agrees(first) and installation.agrees(second))
    assert 500 in installation.wanted()
    assert 102 not in installation.wanted()
    record_property("seconds to all collections", round(time.monotonic() - begin, 2))
    data = Dataset.open(installation.dataset)  # the worker has brought the changes into it
    ids = data.items()["item_id"].to_pylist()
    assert check_dataset(installation.dataset).report.ok
    for manifest, was in zip((first, second), before, strict=True):
        soon(lambda manifest=manifest, was=was: not np.allclose(installation.vectors(manifest)[101], was[101]))
        version = FullVersionFiles(installation.settings.home / f"model-{manifest.full_version}/version", Path())
        wanted = dict(zip(ids, OpenVersion(version, data).item_vectors(), strict=True))
        found = installation.vectors(manifest)
        for item, vector in found.items():
            np.testing.assert_allclose(vector, wanted[item], atol=1e-5)
        dear = FilterParser(SPEC).parse({"price": {"gte": 12, "lte": 13}})
        hits = installation.collections.search(manifest.collection, vector[None], 10, effort=64, wanted=dear)
        assert set(hits[0].ids.tolist()) == {500, 112, 113}


def test_a_collection_that_was_being_built_gets_them_before_it_is_offered(installation: Installation) -> None:
    installation.remove(103)
    manifest = installation.build()  # its file was written without the changes
    assert 103 in installation.vectors(manifest)
    installation.upsert(item_id=501, tags=["k1"])
    assert replay(installation.settings, installation.log, manifest) > 1
    soon(lambda: installation.agrees(manifest))
    # From then on the worker brings what comes, and all of it again does no harm.
    worker = installation.worker()
    installation.remove(501, 104)
    worker.step()
    soon(lambda: installation.agrees(manifest))


def test_the_next_full_update_agrees(installation: Installation) -> None:
    worker = installation.worker()
    installation.upsert(item_id=502, tags=["k1"], price=12.5)
    installation.remove(105)
    worker.step()
    installation.upsert(item_id=502, tags=["k2"], price=12.5)
    worker.step()
    assert len(list((installation.dataset / "items").glob("changes-*"))) == 2
    manifest = installation.build()
    assert {502, 105} <= installation.vectors(manifest).keys()  # 105 has interactions, so the dataset keeps it
    replay(installation.settings, installation.log, manifest)
    soon(lambda: installation.agrees(manifest))
    data = Dataset.open(installation.dataset)
    (row,) = [row for row in data.items().to_pylist() if row["item_id"] == 502]
    assert row["tags"] == ["k2"]


def test_an_item_that_returns_is_there_again(installation: Installation) -> None:
    worker = installation.worker()
    first = generations(installation)[0]
    installation.remove(106)
    worker.step()
    soon(lambda: 106 not in installation.vectors(first))
    installation.upsert(item_id=106, tags=["k1"])
    worker.step()
    soon(lambda: 106 in installation.vectors(first))


def test_a_lost_collection_keeps_nothing_from_the_others(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = generations(installation)[:2]
    installation.collections.drop(first.collection)
    installation.remove(107)
    worker = installation.worker()
    assert worker.step() == worker.step()
    assert caplog.text.count("goes without item changes") == 1
    soon(lambda: 107 not in installation.vectors(second))


def test_a_change_that_one_collection_cannot_hold_keeps_nothing_from_the_others(tmp_path: Path) -> None:
    class Taken(list[str]):
        def apply(self, manifest: Manifest, _: Sequence[ItemChange], _head: int) -> None:
            if manifest.id == "g3":
                raise DataError("item 1: a collection takes no such value")
            self.append(manifest.id)

        def keep(self, full_versions: set[int]) -> None:
            """As `ItemReplay.keep`."""

    log = fakes.FakeLog([fakes.manifest(3), fakes.manifest(4)], Arms(stable="g3", canary="g4"))
    item_log, taken = ItemLog(str(tmp_path / "log")), Taken()
    item_log.append([ItemChange(item_id=1, features={})])
    release_log = cast(ReleaseLog, SimpleNamespace(state=log.state, now=lambda: datetime.now(UTC)))
    worker = ItemWorker(release_log, item_log, cast(ItemReplay, taken), str(tmp_path / "dataset"))
    assert (worker.step(), taken) == (1, ["g4"])


def test_changes_of_features_that_are_of_another_kind_now_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = FeatureSpec(history=None, features=(Categorical(name="price", tower="item"),))
    click = {"user_id": 1, "item_id": 10, "event": "click", "timestamp": datetime(2026, 4, 1, tzinfo=UTC)}
    parts = [("date=2026-04-01", [click])]
    folder = write_dataset(tmp_path / "dataset", spec=now, parts=parts, users=[{"user_id": 1}], items=[{"item_id": 10}])
    changes = [ItemChange(item_id=500, features={"price": 3.5}), ItemChange(item_id=501, features={"price": "much"})]
    with pytest.raises(DataError, match="item 500: was given features"):
        items_table(now, changes)
    item_log = ItemLog(str(tmp_path / "log"))
    item_log.append(changes)
    log = fakes.FakeLog([])
    release_log = cast(ReleaseLog, SimpleNamespace(state=log.state, now=lambda: datetime.now(UTC)))
    items = cast(ItemReplay, SimpleNamespace(keep=lambda _: None))
    assert ItemWorker(release_log, item_log, items, str(folder)).step() == 1
    ids = Dataset.open(folder).items()["item_id"].to_pylist()
    assert 501 in ids
    assert 500 not in ids
    assert "1 changed items do not fit the dataset" in caplog.text


def test_two_writers_make_one_order(tmp_path: Path) -> None:
    one, two = ItemLog(str(tmp_path / "log")), ItemLog(str(tmp_path / "log"))
    for number in range(10):
        (one, two)[number % 2].append([removed(SPEC, number, "item")])
    records = list(ItemLog(str(tmp_path / "log")).records())
    assert [record.number for record in records] == list(range(1, 11))
    assert [record.changes[0].item_id for record in records] == list(range(10))
    (tmp_path / "log" / "00000004.json").write_text("{")
    with pytest.raises(IntegrityError, match="item log: 00000004"):
        list(ItemLog(str(tmp_path / "log")).records())
