"""Whatever crashes, races, operators and gates do: one stable generation, with all its parts, at every moment."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pagoda.errors import ConflictError, GateError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.lease_memory import LeaseMemory, Memory
from pagoda.rollout.policy import ShadowStep
from pagoda.rollout.state.log_reading import rollout_of, split_of
from pagoda.rollout.state.machine import Phase

from .backends.pods import Pods
from .local import Machine
from .worlds import Stage, add_full, add_incremental, evidence, quick

PLACES = ("before apply", "after apply", "status", "before put", "after put", "measure")
FAULTS = ("error_rate", "slow_rate", "fallback_rate")


class CrashError(Exception):
    """The process died here."""


class Course(RuleBasedStateMachine):
    """Two drivers, operators and pipelines on one log and one set of servers."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = self.make_stage()
        self.versions = 2
        self.drivers = [self.stage.drive(), self.stage.drive()]
        self.tripwire: tuple[str, Callable[[], None]] | None = None
        self._listen()
        for _ in range(3):
            self.drivers[0].reconcile()

    def make_stage(self) -> Stage:
        """Servers that only remember."""
        return Stage()

    def _listen(self) -> None:
        stage = self.stage
        stage.servers.hook = self.reach
        put, measure = stage.store.put, stage.metrics.measure

        def put_with_hooks(name: str, content: bytes) -> None:
            self.reach("before put")
            put(name, content)
            self.reach("after put")

        def measure_with_hook(*arguments: object, **named: object) -> object:
            self.reach("measure")
            return measure(*arguments, **named)

        stage.store.put = put_with_hooks
        stage.metrics.measure = measure_with_hook

    def reach(self, place: str) -> None:
        """Called at every point between a driver's actions."""
        if self.tripwire and self.tripwire[0] == place:
            happening, self.tripwire = self.tripwire[1], None
            happening()

    def step(self, driver: int) -> None:
        try:
            self.drivers[driver].reconcile()
        except CrashError:
            self.drivers[driver] = self.stage.drive()
        self.tripwire = None

    @rule(driver=st.integers(0, 1), times=st.integers(1, 15), seconds=st.sampled_from([0.5, 3.0]))
    def drive(self, driver: int, times: int, seconds: float) -> None:
        for _ in range(times):
            self.step(driver)
            self.check()
            self.stage.clock.forward(seconds)

    @rule(driver=st.integers(0, 1), place=st.sampled_from(PLACES))
    def crash(self, driver: int, place: str) -> None:
        def die() -> None:
            raise CrashError

        self.tripwire = (place, die)
        self.step(driver)

    @rule(
        place=st.sampled_from(PLACES),
        meanwhile=st.lists(
            st.sampled_from(["drive", "start", "rush", "abort", "force", "pause", "break", "wait"]), max_size=8
        ),
    )
    def overtake(self, place: str, meanwhile: list[str]) -> None:
        """One driver stalls in the middle of a step, and all this happens before it goes on."""

        def happen() -> None:
            for what in meanwhile:
                if what == "drive":
                    self.drivers[1].reconcile()
                elif what == "start":
                    self.start(shadow=False, full=True)
                elif what == "rush":
                    self.rush()
                elif what == "wait":
                    self.stage.clock.forward(11)
                elif what == "break":
                    self.stage.metrics.error_rate = 0.5
                else:
                    self.operate(what)
                self.check()

        self.tripwire = (place, happen)
        self.step(0)

    def rush(self) -> None:
        for _ in range(15):
            self.drivers[1].reconcile()
            self.check()
            self.stage.clock.forward(11)

    @rule(what=st.sampled_from(["pause", "resume", "abort", "force"]))
    def operate(self, what: str) -> None:
        actions = {"pause": commands.pause, "resume": commands.resume, "abort": commands.abort, "force": commands.force}
        with contextlib.suppress(ConflictError):
            actions[what](self.stage.log, by="ann")

    @rule(shadow=st.booleans(), full=st.booleans())
    def start(self, shadow: bool, full: bool) -> None:
        stay = ShadowStep(minimum_seconds=3, maximum_seconds=50, minimum_requests=10) if shadow else None
        candidate = self.full() if full else self.incremental()
        with contextlib.suppress(ConflictError, GateError):
            commands.start(self.stage.log, candidate, policy=quick(shadow=stay, grace_seconds=20), by="pipeline")

    @rule()
    def deliver(self) -> None:
        id_ = self.incremental()
        self.stage.servers.bring(id_)  # The follower brought its segment before it is delivered.
        with contextlib.suppress(ConflictError, GateError):
            commands.deliver(self.stage.log, id_, policy=quick(grace_seconds=20), by="pipeline")

    @rule(fault=st.sampled_from((*FAULTS, "none")), offline=st.sampled_from([0.5, 0.5, 0.1]))
    def change_the_world(self, fault: str, offline: float) -> None:
        for name in FAULTS:
            setattr(self.stage.metrics, name, 0.5 if name == fault else 0.0)
        self.stage.evidence = evidence(candidate_recall=offline)

    @precondition(lambda self: not self.stage.servers.down)
    @rule(seconds=st.floats(1, 40))
    def outage(self, seconds: float) -> None:
        self.stage.servers.down = self.stage.metrics.down = True
        self.step(0)
        self.step(1)
        self.stage.clock.forward(seconds)
        self.stage.servers.down = self.stage.metrics.down = False

    @invariant()
    def check(self) -> None:
        state = self.stage.open().state()
        assert state.stable is not None
        for id_ in state.arms.serving:
            assert id_ not in state.retired
            assert self.stage.servers.whole(id_), f"{id_} answers users but is not whole"
        split = split_of(state)
        assert split is not None and split.stable == state.stable

    def full(self) -> str:
        self.versions += 1
        return add_full(self.stage.log, self.versions)

    def incremental(self) -> str:
        self.versions += 1
        state = self.stage.log.state()
        rollout = rollout_of(state)
        usable = [id_ for id_ in (state.stable, rollout and rollout.candidate) if id_ and id_ not in state.retired]
        onto = usable[self.versions % len(usable)]
        return add_incremental(self.stage.log, self.versions, state.generation(onto).full_version, onto)

    def teardown(self) -> None:
        """Faults end; both drivers go on."""
        self.stage.servers.down = self.stage.metrics.down = False
        for name in FAULTS:
            setattr(self.stage.metrics, name, 0.0)
        self.operate("resume")
        self.drivers = [self.stage.drive(), self.stage.drive()]
        for turn in range(400):
            self.step(turn % 2)
            self.check()
            self.stage.clock.forward(2.0)
            rollout = rollout_of(self.stage.log.state())
            if rollout is None or rollout.phase is Phase.FINISHED:
                break
        else:
            raise AssertionError(f"the rollout never ended: {rollout}")
        self.step(0)
        state = self.stage.log.state()
        assert state.arms.canary is None
        assert self.stage.servers.settled(state)


class LocalCourse(Course):
    """The same with the local backend, on a follower's word and a vector database that only remember."""

    def make_stage(self) -> Stage:
        stage = Stage()
        self.folder = tempfile.TemporaryDirectory()
        stage.servers = Machine(Path(self.folder.name), stage.open())
        return stage

    @rule(driver=st.integers(0, 1))
    def crash_inside(self, driver: int) -> None:
        """A driver dies half way through what it does to the servers; the system frees its lock."""
        self.crash(driver, "inside apply")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class Lease:
    """A Lease's annotations."""

    def __init__(self) -> None:
        self.memory = Memory()

    def read(self) -> Memory:
        return self.memory

    def write(self, memory: Memory) -> None:
        self.memory = memory


class PodsCourse(LocalCourse):
    """The same on recall's pods, with tower and search in them."""

    def make_stage(self) -> Stage:
        stage = super().make_stage()
        stage.servers = Pods(Path(self.folder.name), stage.open(), cast(LeaseMemory, Lease()))
        return stage


def run(examples: int, steps: int, course: type[Course] = Course) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(course, settings=chosen)


def test_any_course_ends_in_one_whole_stable_generation() -> None:
    run(examples=15, steps=20)


def test_any_course_on_one_machine_ends_in_one_whole_stable_generation() -> None:
    run(examples=8, steps=20, course=LocalCourse)


def test_any_course_on_recalls_pods_ends_in_one_whole_stable_generation() -> None:
    run(examples=4, steps=20, course=PodsCourse)


@pytest.mark.long
@pytest.mark.parametrize("course", [Course, LocalCourse, PodsCourse])
def test_many_courses_end_in_one_whole_stable_generation(course: type[Course]) -> None:
    run(examples=120, steps=50, course=course)
