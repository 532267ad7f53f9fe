"""Any interleaving of two writers gives one consistent state, and no record ever changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from pagoda.append_log.records import Draft, Record, parse_record
from pagoda.data.spec import FeatureSpec
from pagoda.embeddings.table import FILES
from pagoda.errors import PagodaError
from pagoda.generations.creation import create_generation
from pagoda.generations.manifest import Artifact, generation_id
from pagoda.generations.release_log import ReleaseLog
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionRecord, full_key
from pagoda.registry.publish import carry_out, offer, plan_publish, plan_rollback, publish
from tests.registry.conftest import Clock
from tests.registry.worlds import Memory, day

Operation = tuple[str, int]
NAMES = ("register", "generate", "publish", "plan", "roll back", "retire", "offer", "note")
OPERATIONS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 3)), max_size=12)
PREPARED: list[Operation] = [("register", 1), ("register", 2), ("generate", 1), ("generate", 2), ("publish", 1)]
CONTENTS = {"encoder.json": "x", **{f"{side}/{name}": "x" for side in ("users", "items") for name in FILES}}


class Shared(Memory):
    """The one store. Whatever is in it makes sense, at every moment."""

    def put(self, name: str, content: bytes) -> None:
        super().put(name, content)
        ReleaseState.of(self.records())

    def records(self) -> list[Record]:
        return [parse_record(content, number) for number, content in enumerate(self.blobs.values(), 1)]


class Interrupted(Shared):
    """The same store, to a writer that another one comes before."""

    def __init__(self, shared: Shared, interrupt: Callable[[], None]) -> None:
        super().__init__()
        self.blobs, self._interrupt = shared.blobs, interrupt

    def put(self, name: str, content: bytes) -> None:
        self._interrupt()
        super().put(name, content)


def register(log: ReleaseLog, number: int) -> None:
    key = full_key(day(number), None)

    def decide(state: ReleaseState) -> Draft | None:
        if state.by_key(key):
            return None
        version = VersionRecord(
            key=key,
            update="full",
            window=day(number),
            version=max(state.versions, default=0) + 1,
            uri="/x",
            checksum="x",
            files=CONTENTS,
            registered_at=log.now(),
        )
        return Draft(kind="registered", body=version.model_dump(mode="json"))

    log.commit(decide)


def generate(log: ReleaseLog, number: int) -> None:
    part = Artifact(uri="/x", checksum="x")
    create_generation(
        log,
        number,
        tower=part,
        item_vectors=part,
        collection=f"c{number}",
        dim=4,
        item_count=1,
        spec=FeatureSpec(),
    )


def retire(log: ReleaseLog, number: int) -> None:
    id_ = generation_id(number)
    log.commit(
        lambda state: (
            None
            if id_ not in state.generations or id_ in (*state.arms.serving, *state.retired)
            else Draft(kind="retired", body={"generation": id_})
        )
    )


def carry_on(log: ReleaseLog, operation: Operation) -> None:
    name, number = operation
    actions: dict[str, Callable[[], object]] = {
        "register": lambda: register(log, number),
        "generate": lambda: generate(log, number),
        "publish": lambda: publish(log, generation_id(number), "stable"),
        "plan": lambda: carry_out(log, plan_publish(log.state(), generation_id(number), "stable")),
        "roll back": lambda: carry_out(log, plan_rollback(log.state())),
        "retire": lambda: retire(log, number),
        "offer": lambda: offer(log, generation_id(number)),
        "note": lambda: log.append("rollout.note", {"number": number}),
    }
    with suppress(PagodaError):
        actions[name]()


@given(OPERATIONS, OPERATIONS, st.lists(st.integers(0, 3), max_size=20))
def test_two_writers_agree(mine: list[Operation], yours: list[Operation], pauses: list[int]) -> None:
    shared, clock = Shared(), Clock()
    other = ReleaseLog("", store=shared, clock=clock)
    left, breaks = iter(yours), iter(pauses)

    def interrupt() -> None:
        for _ in range(next(breaks, 0)):
            if operation := next(left, None):
                carry_on(other, operation)

    log = ReleaseLog("", store=Interrupted(shared, interrupt), clock=clock)
    for operation in PREPARED:
        carry_on(other, operation)
    for operation in mine:
        written = dict(shared.blobs)
        carry_on(log, operation)
        assert {name: shared.blobs[name] for name in written} == written
    for operation in left:
        carry_on(other, operation)

    records = shared.records()
    state = ReleaseState.of(records)
    assert log.state() == other.state() == state
    assert ReleaseLog("", store=shared).records() == records
    keys = [version.key for version in state.versions.values()]
    assert len(set(keys)) == len(keys)
    assert not set(state.arms.serving) & state.retired
    assert set(state.arms.serving) <= set(state.generations)
    assert state.stable == (state.trail[-1] if state.trail else None)
    assert not set(state.trail) & state.retired


@given(OPERATIONS, st.integers(0, 30))
def test_reading_in_pieces_is_reading_at_once(operations: list[Operation], cut: int) -> None:
    shared = Shared()
    log = ReleaseLog("", store=shared, clock=Clock())
    for operation in (*PREPARED, *operations):
        carry_on(log, operation)
    records = shared.records()
    first = ReleaseState.of(records[:cut])
    before = ReleaseState.of(records[:cut])
    assert first.apply(records[cut:]) == ReleaseState.of(records)
    assert first == before
