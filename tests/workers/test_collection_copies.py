"""A follower in a recall pod: a generation is held once its collection is here, and item changes follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.registry.publish import publish
from serving.workers.collection_copies import LOOK_SECONDS
from serving.workers.follower import Follower
from serving.workers.tower_host import LocalTowers

from .conftest import Host


class Copies:
    """A store's collections, and the copies on this host."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.here: dict[str, int] = {}

    def bring(self, name: str) -> None:
        if name in self.gone:
            raise IntegrityError(f"collection {name!r} does not exist")
        self.here[name] = self.here.get(name, 0) + 1

    def keep(self, names: set[str]) -> None:
        self.here = {name: count for name, count in self.here.items() if name in names}


class Pod(Host):
    """With copies of collections."""

    def __init__(self, folder: Path) -> None:
        self.copies = Copies()
        super().__init__(folder)

    def start(self) -> None:
        towers = LocalTowers(self.models, self.seconds)
        self.follower = Follower(self.log, self.folder, towers, collections=self.copies, monotonic=self.seconds)


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    pod = Pod(tmp_path)
    yield pod
    pod.follower.close()


def test_a_generation_is_held_once_its_collection_is_here(pod: Pod) -> None:
    manifest, _ = pod.world.serve_chain(pod.registry, pod.log, 1)
    pod.copies.gone.add(manifest.collection)
    assert pod.follower.step().held == ()
    assert manifest.collection in pod.follower.said.refused["g1"]
    pod.copies.gone.clear()
    pod.clock.forward(seconds=60)
    assert pod.follower.step().held == ("g1", "g1.2")
    assert set(pod.copies.here) == {manifest.collection}


def test_copies_follow_what_changes_and_go_with_their_generations(pod: Pod) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, "g1", "stable")
    pod.follower.step()
    looks = pod.copies.here[first.collection]
    pod.follower.step()
    assert pod.copies.here[first.collection] == looks
    pod.clock.forward(seconds=LOOK_SECONDS)
    pod.follower.step()
    assert pod.copies.here[first.collection] == looks + 1
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    publish(pod.log, second.id, "stable")
    pod.follower.step()
    assert set(pod.copies.here) == {first.collection, second.collection}
    pod.clock.forward(hours=2)
    pod.follower.step()
    assert set(pod.copies.here) == {second.collection}


def test_a_copy_is_brought_once_while_the_rest_of_its_generation_cannot_be(pod: Pod) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    pod.follower.step()
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    pod.log.append("offered", {"generation": second.id})
    pod.models.down = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            pod.follower.step()
        pod.clock.forward(seconds=LOOK_SECONDS / 10)
    assert pod.copies.here[second.collection] == 1
    pod.models.down = False
    assert second.id in pod.follower.step().held


def test_what_a_killed_follower_had_here_goes_too(pod: Pod) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    pod.copies.here["recall_v0"] = 1
    pod.follower.step()
    assert set(pod.copies.here) == {first.collection}
