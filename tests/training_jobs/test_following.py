"""A step and the job that it makes: in a queue, at work, preempted, at its end, and when something breaks."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from pathlib import Path

import pytest

from pagoda.errors import ConflictError, PagodaError, UnavailableError
from pagoda.training_jobs.job import CONTENT, KEY, QUEUE_LABEL
from tests.training_jobs.fakes.namespace import STEP
from tests.training_jobs.steps import Killed, MortalCluster, Stage, draft_in


def states(stage: Stage) -> list[str]:
    """What the step was heard to say of the job, without the controllers' own words."""
    name = f"{stage.draft.name} "
    return [told.split(name)[1].split(" (")[0] for told in stage.told]


def test_a_job_waits_in_its_queue_is_preempted_and_ends(over_http: Stage) -> None:
    stage = over_http
    stage.follow("reconcile", "reconcile", "admit", "run", "preempt", "reconcile", "admit", "run", "complete")
    assert states(stage)[1:] == [
        "has no pod at work yet",
        "waits in its queue",
        "has no pod at work yet",
        "is at work",
        "waits in its queue",
        "has no pod at work yet",
        "is at work",
        "has left its version",
    ]
    assert stage.done
    stage.play("collect")
    assert not stage.namespace.jobs


def test_a_job_without_a_queue_is_never_said_to_be_suspended(stage: Stage, tmp_path: Path) -> None:
    stage.draft = draft_in(tmp_path)
    stage.follow("run", "complete")
    assert QUEUE_LABEL not in stage.namespace.made[0]["metadata"]["labels"]
    assert states(stage)[1:] == ["has no pod at work yet", "is at work", "has left its version"]


def test_a_step_that_is_tried_again_follows_the_job_of_before(stage: Stage) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit", "run")  # It dies at the third look.
    stage.follow("complete")
    assert len(stage.namespace.made) == 1


def test_what_is_done_is_not_done_again(stage: Stage) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit")
    stage.play("complete")
    stage.follow()
    assert len(stage.namespace.made) == 1
    assert "deletionTimestamp" in stage.namespace.job["metadata"]
    stage.play("collect")
    stage.follow()
    assert len(stage.namespace.made) == 1


@pytest.mark.parametrize("annotations", [{CONTENT: "other", KEY: "full:x"}, {}])
def test_a_job_of_another_training_is_let_alone(stage: Stage, annotations: dict[str, str]) -> None:
    with pytest.raises(StopIteration):
        stage.follow()
    stage.namespace.job["metadata"]["annotations"] = annotations
    with pytest.raises(ConflictError, match=r"trains full:x otherwise|is none of Pagoda's.*kubectl"):
        stage.follow()
    assert "deletionTimestamp" not in stage.namespace.job["metadata"]


def test_another_configuration_is_another_training_of_the_same_name(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(StopIteration):
        stage.follow()
    stage.draft = draft_in(tmp_path, "{distributed: {processes: 4}, seed: 7}")
    with pytest.raises(ConflictError, match="another configuration"):
        stage.follow()


def test_a_job_that_is_deleted_by_somebody_is_made_anew_by_the_next_try_once_its_pods_are_gone(stage: Stage) -> None:
    def deleted() -> None:
        stage.namespace.job["metadata"]["deletionTimestamp"] = "2026-11-30T10:00:00Z"

    script = itertools.chain(["admit", "run"], (deleted() or "reconcile" for _ in range(1)))
    with pytest.raises(ConflictError, match="was deleted by somebody"):
        stage.step(iter(script)).run()
    stage.follow("reconcile", "reconcile", "collect", "admit", "complete")
    assert len(stage.namespace.made) == 2


def test_a_failure_says_what_the_pods_said_last_and_leaves_nothing(over_http: Stage) -> None:
    stage = over_http
    with pytest.raises(StopIteration):
        stage.follow("admit", "run")
    for rank in range(6):
        stage.namespace.add_pod(f"pod-{rank}", 0 if rank < 5 else 137, "\n".join(f"line {n}" for n in range(100)))
    stage.namespace.logs["pod-5"] += "\nDataError: column price is missing"
    with pytest.raises(PagodaError, match=r"has failed") as failure:
        stage.follow("fail")
    said = str(failure.value)
    assert said.index("pod-5, Error, exit code 137:") < said.index("DataError: column price") < said.index("pod-0")
    assert "line 81" in said and "line 79" not in said and "pod-3" not in said
    stage.play("collect")
    assert not stage.namespace.jobs
    stage.follow("admit", "complete")


def test_pods_that_cannot_be_read_are_no_other_failure(stage: Stage) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit")
    stage.play("fail")
    stage.namespace.forbidden = {"pods"}
    with pytest.raises(PagodaError, match=r"(?s)has failed .*cannot be listed: pods is forbidden"):
        stage.follow()


@pytest.mark.parametrize("event", ["fail", "preempt"])
def test_what_happens_to_a_job_after_it_has_left_its_version_changes_nothing(stage: Stage, event: str) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit", "run")
    stage.done = True
    stage.play(event)
    stage.follow()
    assert "deletionTimestamp" in stage.namespace.job["metadata"]
    assert len(stage.namespace.made) == 1


def test_another_trainings_job_stays_when_the_version_is_there(stage: Stage) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit")
    stage.namespace.job["metadata"]["annotations"][CONTENT] = "other"
    stage.done = True
    stage.follow()
    assert "deletionTimestamp" not in stage.namespace.job["metadata"]


def test_a_job_that_completes_without_a_version_is_a_failure(stage: Stage) -> None:
    with pytest.raises(StopIteration):
        stage.follow("admit", "run")
    stage.namespace.play("complete")
    with pytest.raises(PagodaError, match="left no version"):
        stage.follow()


def test_an_api_server_that_restarts_is_waited_for(stage: Stage) -> None:
    def away() -> str:
        stage.namespace.failures = [503] * 50
        return "admit"

    stage.step(itertools.chain((away() for _ in range(1)), ["run"] * 50, ["complete"])).run()
    assert stage.done


def test_one_that_stays_away_is_not(stage: Stage) -> None:
    def gone() -> str:
        stage.namespace.failures = [503] * 1000
        return "admit"

    with pytest.raises(UnavailableError, match="injected"):
        stage.step(itertools.chain((gone() for _ in range(1)), itertools.repeat("run"))).run()


def test_a_job_that_is_refused_is_told_in_the_servers_words(over_http: Stage, tmp_path: Path) -> None:
    stage = over_http
    stage.draft = draft_in(tmp_path, runtime="mine")
    if stage.plural == "trainjobs":
        with pytest.raises(UnavailableError, match="clusterTrainingRuntime must be created before"):
            stage.follow()
    stage.namespace.controllers.clear()
    with pytest.raises(UnavailableError, match=f"the cluster has no {stage.plural}"):
        stage.follow()


@pytest.mark.parametrize("evicted", [False, True])
def test_a_step_that_is_ended_takes_its_job_along_unless_its_pod_moves(stage: Stage, *, evicted: bool) -> None:
    if evicted:
        stage.namespace.pods[STEP]["metadata"]["deletionTimestamp"] = "2026-11-30T10:00:00Z"

    def ended() -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "run"

    with pytest.raises(SystemExit):
        stage.step(iter(ended() for _ in range(1))).run()
    assert ("deletionTimestamp" in stage.namespace.job["metadata"]) is not evicted


def test_of_two_steps_at_once_one_makes_the_job_and_both_follow_it(stage: Stage) -> None:
    other = dataclasses.replace(stage, told=[])

    def meanwhile() -> None:
        stage.namespace.creating = lambda: None
        with pytest.raises(Killed):
            other.step(iter(()), MortalCluster(stage.namespace, 2)).run()

    stage.namespace.creating = meanwhile
    stage.follow("admit", "complete")
    assert len(stage.namespace.made) == 1
