"""What must hold before a generation may serve, each with a message that says what is wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.errors import GateError, UnavailableError
from pagoda.generations.holding import Holding
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.index.in_process.collections import FolderCollections
from pagoda.item_vectors.vector_files import vectors_batch
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.settings import CollectionConfig, Settings, TowerSettings
from pagoda.updates.readiness import checks_of, collection_ready, hosts_hold, tables_hold, tower_answers

from .worlds import World


@pytest.fixture
def manifest(log: ReleaseLog, registry: FolderRegistry, world: World) -> Manifest:
    return world.serve_chain(registry, log, 0)[0]


def _index(folder: Path, name: str, *, rows: int, loaded: bool = True) -> FolderCollections:
    """An index with one collection."""
    index, vectors = FolderCollections(folder), np.eye(8, 2, dtype=np.float32)
    index.create(name, 2, (), keys=False, description="")
    index.insert(name, vectors_batch(FeatureSpec(), pa.table({"item_id": range(rows)}), vectors[:rows]))
    index.start_index(name, CollectionConfig())
    if loaded:
        index.load(name)
    return index


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ({"name": "another", "rows": 3}, "'recall_v1' does not exist at /.*index"),
        ({"name": "recall_v1", "rows": 3, "loaded": False}, "is not loaded at /.*index"),
        ({"name": "recall_v1", "rows": 2}, "has 2 rows, expected 3"),
    ],
)
def test_a_collection_that_is_not_whole(
    manifest: Manifest, tmp_path: Path, found: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(GateError, match=complaint):
        collection_ready(_index(tmp_path / "index", **found))(manifest)


def test_item_changes_may_have_come_to_a_collection_that_served(manifest: Manifest, tmp_path: Path) -> None:
    collection_ready(_index(tmp_path / "whole", "recall_v1", rows=3))(manifest)
    collection_ready(_index(tmp_path / "grown", "recall_v1", rows=5), {"recall_v1"})(manifest)
    with pytest.raises(GateError, match="has 0 rows"):
        collection_ready(_index(tmp_path / "empty", "recall_v1", rows=0), {"recall_v1"})(manifest)


class Tower(HTTPServer):
    """Answers with the statuses it was given, the last one for good."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.statuses, self.asked = list(statuses), list[tuple[str, dict]]()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Tower

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self.send_response(self.server.statuses[0])
        self.end_headers()
        self.wfile.write(b"generation g1 is not held here")
        if len(self.server.statuses) > 1:
            self.server.statuses.pop(0)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def towers() -> Iterator[list[Tower]]:
    started: list[Tower] = []
    yield started
    for tower in started:
        tower.shutdown()
        tower.server_close()


def start(towers: list[Tower], *statuses: int) -> Tower:
    tower = Tower(*statuses)
    threading.Thread(target=tower.serve_forever, daemon=True).start()
    towers.append(tower)
    return tower


def test_the_tower_is_asked_for_just_this_generation(manifest: Manifest, towers: list[Tower], tmp_path: Path) -> None:
    tower = start(towers, 404, 409, 503, 200)
    tower_answers(tower.url, tmp_path, 1.0, 30.0)(manifest)
    assert [path for path, _ in tower.asked] == ["/predictions/pagoda/1.0"] * 4
    assert tower.asked[0][1] == {"generation": "g1", "instances": [{"user_id": 0}]}


def test_a_tower_without_the_generation_is_waited_for_not_for_ever(
    manifest: Manifest, towers: list[Tower], tmp_path: Path
) -> None:
    with pytest.raises(GateError, match=r"g1 is not held by the tower's host after 0 s .* answers 409: .*follower run"):
        tower_answers(start(towers, 409).url, tmp_path, 1.0, 0.0)(manifest)


def test_a_tower_that_fails_is_named_at_once(manifest: Manifest, towers: list[Tower], tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="answers 500"):
        tower_answers(start(towers, 500).url, tmp_path, 1.0, 60.0)(manifest)


def test_a_tower_that_is_not_there(manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="Connection refused"):
        tower_answers("http://127.0.0.1:9", tmp_path, 1.0, 0.1)(manifest)


def test_the_followers_refusal_is_the_reason(manifest: Manifest, tmp_path: Path) -> None:
    Holding(head=3, current=None, held=(), refused={"g1": "rows.npy is damaged"}).write(tmp_path)
    with pytest.raises(GateError, match=r"g1 is refused by the tower's host: rows\.npy is damaged"):
        tables_hold(tmp_path, 60.0)(manifest)


@pytest.mark.parametrize(
    "tower", [TowerSettings(), TowerSettings(runtime="in_process", url="http://127.0.0.1:9")], ids=["none", "in recall"]
)
def test_tables_that_hold_it_are_enough_without_a_towers_server(
    manifest: Manifest, tmp_path: Path, tower: TowerSettings
) -> None:
    (check,) = checks_of(Settings(home=tmp_path, tower=tower), ReleaseState(), 0.0)
    with pytest.raises(GateError, match=r"g1\.json is missing"):
        check(manifest)
    (tmp_path / "tables/generations").mkdir(parents=True)
    (tmp_path / "tables/generations/g1.json").write_text("{}")
    check(manifest)


def test_every_recall_pod_that_serves_must_hold_it(manifest: Manifest) -> None:
    pods = [Holding(head=3, current=None, held=held) for held in (("g0", "g1"), ("g0",), ())]
    with pytest.raises(GateError, match="g1 is not held after 0 s: 1 of 2 hosts hold it"):
        hosts_hold(lambda: pods, 0.0)(manifest)
    hosts_hold(lambda: [pods[0], pods[2]], 0.0)(manifest)
    with pytest.raises(GateError, match="0 of 0 hosts"):
        hosts_hold(list, 0.0)(manifest)
    refusing = Holding(head=3, current=None, held=("g0",), refused={"g1": "rows.npy is damaged"})
    with pytest.raises(GateError, match=r"g1 is refused by a tower's host: rows\.npy is damaged"):
        hosts_hold(lambda: [pods[0], refusing], 60.0)(manifest)
    begins = refusing.model_copy(update={"held": ()})
    hosts_hold(lambda: [pods[0], begins], 0.0)(manifest)
    with pytest.raises(GateError, match="is refused"):
        hosts_hold(lambda: [begins], 0.0)(manifest)
