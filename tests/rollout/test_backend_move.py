"""`pagoda index rebuild`: what serves moves to another search backend, whole or not at all, and goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pagoda.append_log.store import FolderStore
from pagoda.cli.main import app
from pagoda.errors import ConflictError, GateError, IntegrityError
from pagoda.index.factory import collections_folder, open_collections
from pagoda.index.in_process.collections import FolderCollections
from pagoda.index.milvus.collections import MilvusCollections
from pagoda.item_changes.changes import removed
from pagoda.item_changes.log import open_item_log
from pagoda.registry.publish import plan_publish, plan_rollback
from pagoda.rollout import commands
from pagoda.rollout.backend_move import rebuild
from pagoda.settings import IndexSettings, MilvusSettings, Settings
from pagoda.updates import incremental_steps
from pagoda.updates.full import FullUpdate
from tests.index.elasticsearch.installations import installed
from tests.training.worlds import SPEC, config, hours, make
from tests.updates.installations import Installation

REMOVED = 105
ITEMS = set(range(100, 140)) - {REMOVED}


@pytest.fixture
def home(tmp_path: Path) -> Installation:
    """g1 is stable, in Milvus, which nobody asks here; the settings say otherwise by now, and an item was removed."""
    spec = SPEC.model_copy(update={"title": "name"})
    made = Installation(tmp_path / "home", make(tmp_path / "data", spec), config(bootstrap_epochs=1))
    made.full(hours(0, 38))
    made.settings = Settings(
        home=tmp_path / "home",
        index={"backend": "in_process", "kind": "FLAT"},
        events={"dataset": str(made.dataset.path)},
    )
    open_item_log(made.settings).append([removed(SPEC, REMOVED, "item")])
    return made


def found(home: Installation, collection: str) -> set[int]:
    """The items that a search can find."""
    query = np.ones((1, 8), np.float32)
    return set(open_collections(home.settings).search(collection, query, 100, effort=100)[0].ids.tolist())


def test_what_serves_moves_and_goes_on_from_there(home: Installation) -> None:
    before = home.state().generation("g1")
    moved = rebuild(home.settings).manifest
    state = home.state()
    assert state.stable == moved.id == "g1b2"
    assert moved.backend == "in_process" and "backend" not in before.model_dump(mode="json")
    changing = {"id", "backend", "created_at"}
    assert moved.model_dump(exclude=changing) == before.model_dump(exclude=changing)
    assert found(home, moved.collection) == ITEMS
    assert rebuild(home.settings).report is None and home.state() == state, "a second time, nothing is left to do"
    with home.followed():
        now = hours(0, 42).end + timedelta(seconds=home.config.incremental.lateness_seconds)
        incremental_steps.run_all(home.settings, str(home.dataset.path), now)
    newest = home.state().generation(home.state().stable or "")
    assert (newest.id, newest.backend, newest.collection) == ("g1.2", "in_process", moved.collection)
    with installed(home.settings.home, "elasticsearch") as elsewhere:
        home.settings = elsewhere.settings.model_copy(update={"events": home.settings.events})
        moved = rebuild(home.settings).manifest
        assert (home.state().stable, moved.backend) == (moved.id, "elasticsearch")
        assert found(home, moved.collection) == ITEMS


class KilledError(Exception):
    """The process is gone."""


def test_killed_at_any_step_the_old_generation_serves_and_the_next_run_goes_on(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(home.log.records())
    steps = [(FolderCollections, name) for name in ("insert", "start_index", "load", "search")]
    # The first record is the generation's; the next run brings item changes in, and writes the second, the release.
    steps += [(FolderStore, "put"), (FolderCollections, "delete")]
    for owner, name in steps:
        for after in (False, True):
            with monkeypatch.context() as patch, pytest.raises(KilledError):
                patch.setattr(owner, name, killed(getattr(owner, name), after=after))
                rebuild(home.settings)
            assert home.state().stable == "g1"
    assert rebuild(home.settings).manifest.id == home.state().stable == "g1b2"
    assert [record.kind for record in home.log.records()[before:]] == ["generation", "released"]
    assert found(home, "recall_v1") == ITEMS


def killed(call: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """A call that the process does not survive."""

    def last(*arguments: Any, **options: Any) -> None:
        if after:
            call(*arguments, **options)
        raise KilledError

    return last


def test_nothing_else_leads_from_one_backend_to_another(home: Installation) -> None:
    rebuild(home.settings)
    state, names = home.state(), r"'milvus', that of g1b2, which is stable, in 'in_process'; .*`pagoda index rebuild`"
    for refused in (
        lambda: plan_publish(state, "g1", "stable"),
        lambda: plan_rollback(state),
        lambda: commands.start(home.log, "g1", by="test"),
    ):
        with pytest.raises(GateError, match=names):
            refused()
    with pytest.raises(GateError, match=r"and this update would build in 'milvus'; .*`pagoda index rebuild`"):
        FullUpdate.resolve(Settings(home=home.settings.home), str(home.dataset.path), "")


def test_a_rollout_comes_to_its_end_first(home: Installation) -> None:
    candidate = home.full(hours(38, 44), serve=False).id
    commands.start(home.log, candidate, by="test")
    with pytest.raises(ConflictError, match=r"`pagoda rollout abort`"):
        rebuild(home.settings)


def test_damaged_vectors_are_named_and_nothing_is_built(home: Installation) -> None:
    vectors = next(home.settings.home.glob("vectors-1/*.parquet"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"item_vectors\.parquet is damaged"):
        rebuild(home.settings)
    assert open_collections(home.settings).names() == []


def test_a_collection_is_built_with_the_words_of_the_items_where_the_settings_say_so(home: Installation) -> None:
    index = IndexSettings(backend="in_process", kind="FLAT", text=True)
    home.settings = home.settings.model_copy(update={"index": index})
    moved = rebuild(home.settings).manifest
    assert (home.state().generation("g1").texts, moved.texts) == ((), ("name",))
    collections = FolderCollections(collections_folder(home.settings))
    assert collections.match(moved.collection, "northern 4", 1).ids.tolist() == [104]
    assert REMOVED not in collections.match(moved.collection, "one", 100).ids


@pytest.mark.long
@pytest.mark.integration
def test_the_way_back_to_milvus(home: Installation, collections: MilvusCollections) -> None:
    rebuild(home.settings)
    milvus = MilvusSettings(uri=collections.uri)
    home.settings = Settings(home=home.settings.home, milvus=milvus, events=home.settings.events)
    environment = {"PAGODA_MILVUS__URI": collections.uri, "PAGODA_EVENTS__DATASET": str(home.dataset.path)}
    words = ["index", "rebuild", "--output", "json", "--home", str(home.settings.home)]
    done = CliRunner().invoke(app, words, env=environment)
    assert done.exit_code == 0, done.output
    assert (json.loads(done.stdout)["generation"], json.loads(done.stdout)["backend"]) == ("g1", "milvus")
    assert found(home, "recall_v1") == ITEMS
