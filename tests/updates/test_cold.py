"""New items and users all the way through a full update: means in the collection, and what to show first."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pagoda.data.layout import INTERESTS
from pagoda.data.spec import MultiValued
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.index.factory import open_collections
from pagoda.item_changes.changes import upserted
from pagoda.settings import IndexSettings, Settings
from pagoda.storage.checksums import checksum_file
from pagoda.updates import full_steps, incremental_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.item_replay import ItemReplay
from pagoda.version_files.full import CATEGORY_MEANS
from pagoda.version_files.onboarding import ONBOARDING
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import SPEC, config, hours, make

FEATURE = MultiValued(name=INTERESTS, tower="user", max_values=3)
COLD = {"by": "tags", "items": "category_mean", "users": "interests"}


@pytest.mark.long
def test_items_that_come_later_stand_where_exported_ones_like_them_do(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", SPEC.model_copy(update={"features": (*SPEC.features, FEATURE)}), 5)
    settings = Settings(home=tmp_path / "home", index=IndexSettings(backend="in_process"))
    update = FullUpdate.resolve(settings, str(dataset.path), hours(0, 40).end.isoformat())
    how = config(bootstrap_epochs=1, cold=COLD, drift={"max_mean_cosine": 0.99})
    full_steps.train(update, how.to_yaml())
    full_steps.register(update)
    full_steps.export_vectors(update)
    full_steps.build_index(update)
    full_steps.package_tower(update, lambda _files, _version, folder: (folder / "tower.mar").touch())
    full_steps.offer(update)
    manifest, log = full_steps.newest(update), open_log(settings)

    # Item 136 is newer than the window; what comes now with the same tags has no row either.
    ItemReplay(settings, log).apply(manifest, [upserted(manifest.spec, {"item_id": 999, "tags": ["k0", "all"]}, "")], 1)
    vectors = OpenVersion(update.files(), dataset).item_vectors()
    (found,) = open_collections(settings).search(manifest.collection, vectors[36:37], 2, effort=50)
    assert set(found.ids.tolist()) == {136, 999}
    assert abs(found.scores[0] - found.scores[1]) < 1e-5

    assert manifest.onboarding is not None and manifest.onboarding.uri.endswith(ONBOARDING)
    assert pq.read_table(manifest.onboarding.uri)["item_id"][0] == update.files().popularity()["item_id"][0]
    plain = Manifest.model_validate(json.loads(manifest.model_dump_json()) | {"onboarding": None})
    assert "onboarding" not in plain.model_dump(mode="json")


def test_an_incremental_goes_on_from_a_base_with_means(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", SPEC, 5)
    settings = Settings(home=tmp_path / "home", index=IndexSettings(backend="in_process"))
    update = FullUpdate.resolve(settings, str(dataset.path), hours(0, 40).end.isoformat())
    how = config(bootstrap_epochs=1, cold={"by": "tags", "items": "category_mean"}, drift={"max_mean_cosine": 0.99})
    full_steps.train(update, how.to_yaml())
    full_steps.register(update)
    full_steps.export_vectors(update)
    full_steps.build_index(update)
    full_steps.package_tower(update, lambda _files, _version, folder: (folder / "tower.mar").touch())
    full_steps.offer(update)

    base = open_log(settings).state().versions
    (number,) = base
    done = incremental_steps.run(settings, str(dataset.path), number, hours(0, 50).end)
    assert isinstance(done, incremental_steps.Done) and done.record.base == number
    means = incremental_steps.base_files(settings, number).folder / CATEGORY_MEANS
    assert checksum_file(means) == base[number].files[CATEGORY_MEANS]
