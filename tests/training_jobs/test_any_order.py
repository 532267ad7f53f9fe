"""Steps that are killed anywhere, controllers and Kueue in any order: one job at a time, and one training in all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.errors import PagodaError
from tests.training_jobs.fakes.controllers import EVENTS
from tests.training_jobs.fakes.namespace import STEP, FakeNamespace
from tests.training_jobs.steps import Killed, MortalCluster, Stage, draft_in


def a_step(stage: Stage, calls: int, script: Iterator[str], *, after: bool) -> None:
    """One try of the step, which lives for so many calls, or until nothing more happens."""
    quiet = chain(script, repeat("reconcile", 200))
    try:
        stage.step(quiet, MortalCluster(stage.namespace, calls, after=after)).run()
    except StopIteration as end:
        raise Killed from end


def recorded(stage: Stage) -> Callable[[], None]:
    """What is so whenever a job is made: there is none, and nothing is done."""

    def check() -> None:
        assert not stage.done, "a job was made for what is done"

    return check


TRIES = st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.lists(st.sampled_from(EVENTS), max_size=8)), max_size=6)


@pytest.mark.parametrize("plural", ["trainjobs", "pytorchjobs"])
@pytest.mark.parametrize("queue", ["", "team"])
@given(tries=TRIES)
@settings(max_examples=40, deadline=None)
def test_one_job_at_a_time_and_one_training_in_all(plural: str, queue: str, tries: list[Any]) -> None:
    with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KFP_POD_NAME", STEP)
        namespace = FakeNamespace(plural)
        draft = draft_in(Path(home), queue=queue, runtime="torch-distributed")
        stage = Stage(namespace, draft, plural)
        namespace.creating = recorded(stage)
        for calls, after, events in tries:
            try:
                a_step(stage, calls, iter(events), after=after)
            except (Killed, PagodaError):
                continue
            finally:
                assert len(namespace.jobs) <= 1
            assert stage.done
        ends = iter(["collect", "admit", "run", "complete", "collect", "admit", "run", "complete"])
        for _ in range(2):  # The first may find a job that has failed.
            try:
                a_step(stage, 100, ends, after=False)
            except PagodaError:
                continue
        assert stage.done
        namespace.play("collect")
        assert not namespace.jobs
