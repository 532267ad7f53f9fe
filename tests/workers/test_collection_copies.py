"""A follower in a recall pod: a generation is held once its collection is here, and item changes follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest

from pagoda.errors import IntegrityError, PagodaError, UnavailableError
from pagoda.generations.creation import add_incremental
from pagoda.generations.holding import Holding
from pagoda.registry.publish import publish
from serving.workers.collection_copies import LOOK_SECONDS
from serving.workers.follower import RETRY_SECONDS, Follower
from serving.workers.tower_host import LocalTowers

from .conftest import Host


class Copies:
    """A store's collections, and the copies on this host."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.silent: set[str] = set()
        self.anew: set[str] = set()
        self.here: dict[str, int] = {}

    def bring(self, name: str, vectors: str) -> None:
        assert vectors
        if name in self.gone:
            raise IntegrityError(f"collection {name!r} does not exist")
        self.here[name] = self.here.get(name, 0) + 1
        self.anew.discard(name)

    def follow(self, name: str) -> bool:
        if name in self.silent:
            raise UnavailableError(f"collection {name!r}: the store does not answer")
        if name in self.anew:
            return False
        self.here[name] += 1
        return True

    def keep(self, names: set[str]) -> None:
        self.here = {name: count for name, count in self.here.items() if name in names}


class Pod(Host):
    """With copies of collections."""

    def __init__(self, folder: Path) -> None:
        self.copies = Copies()
        super().__init__(folder)
        self.world.backend = "in_process"

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


def test_what_was_built_anew_under_its_name_is_brought_again(pod: Pod) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    pod.follower.step()
    pod.copies.anew.add(first.collection)
    pod.clock.forward(seconds=LOOK_SECONDS)
    pod.follower.step()
    assert pod.copies.anew == {first.collection}
    pod.follower.step()
    assert pod.copies.anew == set()


def test_neither_a_silent_store_nor_a_lost_tower_keeps_changes_of_the_rest_away(pod: Pod) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    pod.follower.step()
    pod.copies.silent.add(first.collection)
    pod.models.down = True
    looks = dict(pod.copies.here)
    for _ in range(2):
        pod.clock.forward(seconds=10)
        with pytest.raises(UnavailableError):
            pod.follower.step()
    assert pod.copies.here == {**looks, second.collection: looks[second.collection] + 2}
    pod.models.down = False
    pod.clock.forward(seconds=10)
    with pytest.raises(UnavailableError, match=rf"{first.collection}.*does not answer"):
        pod.follower.step()


def test_a_full_disk_keeps_changes_from_nothing_that_serves(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    pod.follower.step()
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    pod.log.append("offered", {"generation": second.id})
    looks = pod.copies.here[first.collection]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("ensure", "held"):
        monkeypatch.setattr(pod.models, call, full)
    pod.clock.forward(seconds=10)
    with pytest.raises(OSError, match="No space"):
        pod.follower.step()
    assert pod.copies.here[first.collection] == looks + 1
    assert (pod.follower.said.head, pod.follower.said.held) == (pod.log.state().head, (first.id,))


def test_a_generation_whose_collection_is_in_another_backend_is_not_refused_for_it(pod: Pod) -> None:
    """After `pagoda index rebuild` what served before is live until its grace is over, and nobody here searches it."""
    pod.world.backend = "milvus"
    (before,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    pod.copies.gone.add(before.collection)
    publish(pod.log, before.id, "stable")
    holding = pod.follower.step()
    assert (holding.held, holding.refused, pod.copies.here) == ((before.id,), {}, {})


class Later(Executor):
    """A thread whose work is done when the test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[Future[None], Callable[[], None]]] = []

    def submit(self, work: Callable[[], None]) -> Future[None]:  # type: ignore[override]
        self.begun.append((Future(), work))
        return self.begun[-1][0]

    def run(self) -> None:
        """Do what was begun."""
        begun, self.begun = self.begun, []
        for future, work in begun:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except PagodaError as error:
                    future.set_exception(error)


@pytest.fixture
def later(pod: Pod) -> Later:
    """Does what takes long for the pod's follower, which is started anew."""
    pod.follower.close()
    towers, later = LocalTowers(pod.models, pod.seconds), Later()
    pod.follower = Follower(pod.log, pod.folder, towers, collections=pod.copies, monotonic=pod.seconds, thread=later)
    return later


def settle(pod: Pod, later: Later) -> Holding:
    """Step until all is done."""
    for _ in range(3):
        pod.follower.step()
        later.run()
    return pod.follower.step()


def test_what_serves_is_followed_while_a_full_version_is_on_its_way(pod: Pod, later: Later) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    assert settle(pod, later).current == first.id
    base = pod.registry.get(1)
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    pod.log.append("offered", {"generation": second.id})
    pod.follower.step()
    looks = pod.copies.here[first.collection]
    small = pod.registry.register(pod.world.incremental(base, 1, None, value=50.0))
    publish(pod.log, add_incremental(pod.log, small.version).id, "stable")
    pod.clock.forward(seconds=LOOK_SECONDS)
    holding = pod.follower.step()
    assert (holding.current, second.id in holding.held) == ("g1.3", False)
    assert pod.value("g1.3") == 50.0 and pod.copies.here[first.collection] == looks + 1
    assert second.id in settle(pod, later).held
    assert pod.models.versions == [1, 2]


def test_what_is_no_longer_wanted_when_it_arrives_goes_again(pod: Pod, later: Later) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    publish(pod.log, first.id, "stable")
    settle(pod, later)
    (second,) = pod.world.serve_chain(pod.registry, pod.log, 0, day_number=1)
    pod.log.append("offered", {"generation": second.id})
    pod.follower.step()
    future, work = later.begun.pop(0)
    assert future.set_running_or_notify_cancel()
    pod.clock.forward(hours=2)
    pod.follower.step()
    future.set_result(work())
    assert pod.models.versions == [1, 2]
    assert settle(pod, later).held == (first.id,)
    assert (pod.models.versions, set(pod.copies.here)) == ([1], {first.collection})


def test_a_delivery_that_fails_is_a_refusal_and_tried_again(pod: Pod, later: Later) -> None:
    (first,) = pod.world.serve_chain(pod.registry, pod.log, 0)
    pod.copies.gone.add(first.collection)
    assert set(settle(pod, later).refused) == {first.id}
    pod.copies.gone.clear()
    pod.clock.forward(seconds=RETRY_SECONDS)
    holding = settle(pod, later)
    assert (holding.held, holding.refused) == ((first.id,), {})
