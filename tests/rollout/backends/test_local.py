"""One machine: what it reports, refuses, loads and lets go of."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.errors import ConflictError
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.local.backend import LocalBackend
from pagoda.rollout.backends.local.memory import collection_bytes
from pagoda.settings import CollectionConfig
from tests.rollout.local import Machine
from tests.rollout.worlds import Stage, add_incremental


class OneMachine(Stage):
    """The log of `Stage` and the local backend."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.machine = Machine(folder, self.open())


@pytest.fixture
def stage(tmp_path: Path) -> OneMachine:
    return OneMachine(tmp_path)


def backend(stage: OneMachine) -> LocalBackend:
    return stage.machine.process()


def target(stage: OneMachine, **changes: object) -> Target:
    state = stage.log.state()
    one, two = (state.generations[id_] for id_ in ("g1", "g2"))
    return Target(**{"record": state.head, "stable": one, "candidate": two, **changes})


def test_without_a_follower_nothing_can_be_rolled_out(stage: OneMachine) -> None:
    assert "no follower" in backend(stage).preflight(target(stage))[0]


def test_a_missing_collection_and_missing_memory_are_named(stage: OneMachine) -> None:
    stage.machine.follow()
    assert backend(stage).preflight(target(stage)) == []
    stage.machine.free = 1 << 20
    stage.machine.shelf.memory.clear()
    stage.machine.say(held=("g1",))
    assert backend(stage).preflight(target(stage))[0].startswith("g2 needs about 300 MiB, 1 MiB are free")
    stage.machine.shelf.disk.discard("recall_v2")
    assert backend(stage).preflight(target(stage)) == ["collection recall_v2 is not there"]


def test_readiness_names_what_is_missing(stage: OneMachine) -> None:
    look = target(stage)
    assert backend(stage).status(look).of("g2").missing == ("the tower's host does not hold g2 yet",)
    stage.machine.say(held=("g1",), refused={"g2": "its archive is damaged"})
    assert "refuses g2: its archive is damaged" in backend(stage).status(look).of("g2").missing[0]
    stage.machine.follow()
    stage.machine.shelf.memory.discard("recall_v2")
    assert backend(stage).status(look).of("g2").missing == ("collection recall_v2 is not loaded",)
    backend(stage).apply(look)
    assert backend(stage).status(look).of("g2").capacity == 100


def test_only_what_can_never_serve_again_is_let_go_of(stage: OneMachine) -> None:
    stage.machine.follow()
    add_incremental(stage.log, 7, 2, "g2")
    stage.log.append("retired", {"generation": "g2"})
    backend(stage).apply(target(stage, candidate=None))
    assert "recall_v2" in stage.machine.shelf.memory, "g2.7 may still serve"
    stage.log.append("retired", {"generation": "g2.7"})
    backend(stage).apply(target(stage, candidate=None))
    assert stage.machine.shelf.memory == {"recall_v1"}


def test_an_older_record_is_refused_by_every_driver_of_the_machine(stage: OneMachine, tmp_path: Path) -> None:
    stage.machine.follow()
    late = target(stage)
    stage.log.append("offered", {"generation": "g2"})
    backend(stage).apply(target(stage))
    another = Machine(tmp_path, stage.log)
    with pytest.raises(ConflictError, match="applied already"):
        another.process().apply(late)
    another.process().apply(target(stage))


def test_memory_is_that_of_codes_where_codes_are_searched(stage: OneMachine) -> None:
    manifest = stage.log.state().generations["g1"].model_copy(update={"item_count": 1_000_000, "dim": 64})
    taken = {
        kind: collection_bytes(manifest, CollectionConfig(kind=kind)) >> 20
        for kind in ("FLAT", "HNSW", "HNSW_SQ8", "IVF_SQ8", "IVF_PQ")
    }
    assert taken == {"FLAT": 327, "HNSW": 485, "HNSW_SQ8": 247, "IVF_SQ8": 89, "IVF_PQ": 29}
