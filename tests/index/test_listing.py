"""Who a collection is for and how far item changes are in it, for people and for scripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.errors import ConfigError
from pagoda.generations.release_log import ReleaseLog
from pagoda.index.factory import open_collections
from pagoda.index.listing import ListedCollection, list_collections
from pagoda.item_changes.log import ItemLog, item_log_url
from pagoda.item_changes.positions import Positions, write_positions
from pagoda.item_changes.records import ItemChange
from pagoda.settings import CollectionConfig, Settings, load_settings
from tests.rollout.worlds import add_full, add_incremental

ROWS = 5


class Home:
    """Four collections in process: stable, canary, of a retired generation, and one that nobody knows of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pagoda.yaml").write_text("index: {backend: in_process, kind: FLAT}")
        self.settings: Settings = load_settings(folder)
        self.collections = open_collections(self.settings)
        self.log = ReleaseLog(self.settings.log_url)
        for version in (1, 2, 3):
            add_full(self.log, version, backend="in_process")
        add_incremental(self.log, 4, 2, "g2")
        self.log.append("retired", {"generation": "g1"})
        self.log.append("released", {"arms": {"stable": "g2.4", "canary": "g3"}, "reason": "test"})
        for name in ("recall_v1", "recall_v2", "recall_v3", "stray"):
            self.make(name)

    def make(self, name: str) -> None:
        ids, vectors = (
            pa.array(range(ROWS), pa.int64()),
            pa.FixedSizeListArray.from_arrays(pa.array([1.0] * 8 * ROWS, pa.float32()), 8),
        )
        self.collections.create(name, 8, [], keys=False, description="made by hand")
        self.collections.insert(name, pa.record_batch({"item_id": ids, "vector": vectors}))
        self.collections.start_index(name, CollectionConfig(kind="FLAT"))
        self.collections.wait_indexed(name, ROWS, 60.0)
        if name != "stray":
            self.collections.start_loading(name)

    def change_items(self, times: int) -> None:
        log = ItemLog(item_log_url(self.settings))
        for _ in range(times):
            log.append([ItemChange(item_id=1, features=None)])

    def listed(self) -> dict[str, ListedCollection]:
        return {one.name: one for one in list_collections(self.settings)}

    def run(self, *words: str) -> Result:
        command = ["index", "list", *words, "--home", str(self.folder)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "80", "PAGODA_HOME": None})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_each_collection_says_what_it_is_for(home: Home) -> None:
    found = home.listed()
    assert {name: (one.arm, one.generations, one.retired) for name, one in found.items()} == {
        "recall_v1": (None, (), ("g1",)),
        "recall_v2": ("stable", ("g2", "g2.4"), ()),
        "recall_v3": ("canary", ("g3",), ()),
        "stray": (None, (), ()),
    }
    assert [name for name, one in found.items() if one.orphan] == ["stray"]
    assert [name for name, one in found.items() if one.live] == ["recall_v2", "recall_v3"]
    facts = {name: one.facts for name, one in found.items()}
    assert [one and one.loaded for one in facts.values()] == [True, True, True, False]
    assert {(one.rows, one.dim, one.metric, one.kind) for one in facts.values() if one} == {(ROWS, 8, "IP", "FLAT")}


def test_a_generation_of_another_backend_uses_no_collection_of_this_one(home: Home) -> None:
    add_full(home.log, 5, backend="milvus")
    home.make("recall_v5")
    assert home.listed()["recall_v5"].orphan


def test_it_is_told_how_far_item_changes_are_behind(home: Home) -> None:
    assert {(one.applied, one.behind) for one in home.listed().values()} == {(None, None)}
    home.change_items(3)
    said = Positions(at=datetime.now(UTC), head=2, applied={"recall_v2": 2, "recall_v3": 1})
    write_positions(item_log_url(home.settings), said)
    found = home.listed()
    assert [(found[name].applied, found[name].behind) for name in ("recall_v2", "recall_v3")] == [(2, 1), (1, 2)]
    assert found["stray"].behind is None


def test_a_damaged_collection_keeps_no_other_from_the_list(home: Home) -> None:
    (home.folder / "collections" / "recall_v3" / "index" / "index.json").write_text("{}")
    found = home.listed()
    assert found["recall_v3"].facts is None and "recall_v3" in found["recall_v3"].trouble
    assert found["recall_v2"].facts is not None and "build the collection anew" in home.run().output.replace("\n", " ")


def test_people_see_it_on_eighty_columns(home: Home) -> None:
    lines = home.run().output.splitlines()
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    rows = {line.split()[0]: line for line in lines}
    assert "stable" in rows["recall_v2"] and "g2, g2.4" in rows["recall_v2"] and " yes" in rows["recall_v2"]
    assert "retired: g1" in rows["recall_v1"] and "orphan" in rows["stray"] and " no" in rows["stray"]


def test_scripts_get_all_of_it(home: Home) -> None:
    told: list[dict[str, Any]] = json.loads(home.run("--output", "json").stdout)
    stable = next(one for one in told if one["name"] == "recall_v2")
    assert stable == {
        "name": "recall_v2",
        "loaded": True,
        "rows": ROWS,
        "dim": 8,
        "metric": "IP",
        "kind": "FLAT",
        "trouble": "",
        "arm": "stable",
        "live": True,
        "generations": ["g2", "g2.4"],
        "retired": [],
        "item_count": 100,
        "applied": None,
        "behind": None,
        "orphan": False,
    }


def test_without_a_backend_it_says_which_setting_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"milvus\.uri"):
        list_collections(load_settings(tmp_path))
