"""How far item changes have come is said for people, now and then, and never in the way of the changes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.arms import Arms
from pagoda.generations.release_log import ReleaseLog
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.positions import Positions, read_positions, write_positions
from pagoda.item_changes.records import ItemChange
from pagoda.updates.item_replay import ItemReplay
from serving.workers.items import SAY_SECONDS, ItemWorker
from tests.serving import fakes


class Scene:
    """A worker over two collections, of which `down` take no change."""

    def __init__(self, folder: Path) -> None:
        self.now, self.down = 0.0, set[str]()
        self.said: list[Positions] = []
        self.silent = False
        self.item_log = ItemLog(str(folder / "items"))
        log = fakes.FakeLog([fakes.manifest(3), fakes.manifest(4)], Arms(stable="g3", canary="g4"))
        self.names = [manifest.collection for manifest in log.state().generations.values()]
        self.worker = ItemWorker(
            cast(ReleaseLog, SimpleNamespace(state=log.state, now=lambda: datetime.now(UTC))),
            self.item_log,
            cast(ItemReplay, SimpleNamespace(apply=self._apply, keep=lambda _: None)),
            str(folder / "dataset"),
            say=self._say,
            monotonic=lambda: self.now,
        )

    def _apply(self, manifest: fakes.Manifest, _: object, _head: int) -> None:
        if manifest.collection in self.down:
            raise UnavailableError("no index")

    def _say(self, positions: Positions) -> None:
        if self.silent:
            raise UnavailableError("no bucket")
        self.said.append(positions)

    def change(self) -> None:
        self.item_log.append([ItemChange(item_id=1, features={})])


def test_it_is_said_when_it_changes_and_not_more_often_than_every_ten_seconds(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    for _ in range(3):
        scene.change()
        scene.worker.step()
    assert [(one.head, set(one.applied.values())) for one in scene.said] == [(1, {1})]
    scene.now += SAY_SECONDS
    for _ in range(3):
        scene.worker.step()
        scene.now += SAY_SECONDS
    assert [(one.head, one.applied) for one in scene.said[1:]] == [(3, dict.fromkeys(scene.names, 3))]


def test_a_collection_that_takes_no_change_stays_where_it_was(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.change()
    scene.worker.step()
    scene.down, scene.now = {scene.names[0]}, SAY_SECONDS
    scene.change()
    with pytest.raises(UnavailableError, match="no index"):
        scene.worker.step()
    assert scene.said[-1].applied == {scene.names[0]: 1, scene.names[1]: 2}


def test_where_it_cannot_be_said_changes_are_brought_in_and_it_is_said_later(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.change()
    scene.silent, scene.now = True, 1.0
    with pytest.raises(UnavailableError, match="no bucket"):
        scene.worker.step()
    scene.silent, scene.now = False, 1.0 + SAY_SECONDS
    scene.worker.step()
    assert scene.said[-1].applied == dict.fromkeys(scene.names, 1)


def test_what_was_said_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    url = str(tmp_path / "items")
    assert read_positions(url) is None
    for head in (1, 2):
        write_positions(url, said := Positions(at=datetime.now(UTC), head=head, applied={"items_a": head}))
    assert read_positions(url) == said
    (tmp_path / "items" / "applied.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"items/applied\.json"):
        read_positions(url)
