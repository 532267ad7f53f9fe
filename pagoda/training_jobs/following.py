"""One job of an update: made once, followed to its end, and gone after it.

A step may be killed at any moment and run again. What is there says how far it was: the update's output, which a job's
first process shares last, says that training is done; else the job of this name is followed, whoever made it, and one
is made where there is none. Kubernetes has one object of a name, so of two steps one makes it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from pagoda.cluster import Cluster
from pagoda.errors import ConflictError, PagodaError, UnavailableError
from pagoda.training_jobs.job import CONTENT, KEY, JobDraft, JobKind, JobState, JobStatus
from pagoda.training_jobs.last_words import last_words
from pagoda.training_jobs.step_pod import own_pod

PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 600.0
"""How long the API server may be away while a job is followed: an upgrade of it takes minutes."""


@dataclass
class Following:
    """A step that follows the job of its update."""

    cluster: Cluster
    kind: JobKind
    draft: JobDraft
    done: Callable[[], bool]
    """Whether the update's output is there."""
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def run(self) -> None:
        """Have the job there until its output is, and then no more.

        It is deleted when it is complete, when it has failed, and when this step is ended; but not when this step's
        pod is moved elsewhere, for then the step's next try goes on following it.

        Raises:
            ConflictError: A job of this name trains something else; or this one was deleted by somebody.
            PagodaError: It failed; the message ends with the last lines of its pods.
            UnavailableError: Kubernetes refuses, or does not answer for long.
        """
        try:
            with _ended_by_sigterm():
                self._follow()
        except (KeyboardInterrupt, SystemExit):
            if not own_pod(self.cluster)["metadata"].get("deletionTimestamp"):
                self._delete()
            raise

    def _follow(self) -> None:
        told, alive = None, False
        while True:
            found, done = self._patiently() if alive else self._look()
            going = found is not None and bool(found["metadata"].get("deletionTimestamp"))
            if done:
                self._clear(found, going=going)
                return
            if found is None or going:
                if alive:
                    raise ConflictError(f"{self._name} was deleted by somebody; run the step again to train anew")
                self._begin(going=going)
                continue
            self._require_ours(found)
            alive, observed = True, self.kind.observe(found)
            if observed != told:
                self.say(f"{self._name} {observed.state}{f' ({observed.why})' if observed.why else ''}")
                told = observed
            self._require_alive(observed)
            self.sleep(PAUSE_SECONDS)

    def _look(self) -> tuple[dict[str, Any] | None, bool]:
        """The job, and whether its output is there: in this order, since who is done deletes the job after it."""
        found = self.cluster.get(self.kind.group_version, self.kind.plural, self.draft.name)
        return found, self.done()

    def _patiently(self) -> tuple[dict[str, Any] | None, bool]:
        """The same, also through an absence of the API server."""
        until = self.clock() + _PATIENCE_SECONDS
        while True:
            try:
                return self._look()
            except UnavailableError:
                if self.clock() >= until:
                    raise
                self.sleep(PAUSE_SECONDS)

    def _begin(self, *, going: bool) -> None:
        """Make the job, once the one before has gone with its pods."""
        if going:
            self.say(f"{self._name} of before is being deleted")
            self.sleep(PAUSE_SECONDS)
            return
        try:
            self.cluster.create(self.kind.group_version, self.kind.plural, self.kind.body(self.draft))
        except ConflictError:
            return  # Another try of this step was first.
        self.say(f"{self._name} is made: {self.draft.processes} processes in {self.draft.pods} pods")

    def _clear(self, found: dict[str, Any] | None, *, going: bool) -> None:
        """Delete the job of what is done, whatever its pods still do; another training's stays."""
        if found is not None and not going and self._content(found) == self.draft.content:
            self.say(f"{self._name} has left its version")
            self._delete()

    def _require_alive(self, observed: JobStatus) -> None:
        if observed.state is JobState.COMPLETE:
            self._delete()
            raise PagodaError(f"{self._name} is complete and left no version: its pods ran another command")
        if observed.state is JobState.FAILED:
            words = last_words(self.cluster, self.draft.name)
            self._delete()
            raise PagodaError(f"{self._name} has failed ({observed.why}); the last lines of its pods:\n{words}")

    def _require_ours(self, found: dict[str, Any]) -> None:
        content = self._content(found)
        if content != self.draft.content:
            key = (found["metadata"].get("annotations") or {}).get(KEY)
            what = f"trains {key} otherwise" if content else "is none of Pagoda's"
            raise ConflictError(
                f"{self._name} is there, and {what}: another configuration, number of processes or teacher. Wait for "
                f"its run to end, or delete it: kubectl --namespace {self.cluster.namespace} delete "
                f"{self.kind.plural}.{self.kind.group_version.split('/')[0]} {self.draft.name}"
            )

    @staticmethod
    def _content(found: dict[str, Any]) -> str:
        return str((found["metadata"].get("annotations") or {}).get(CONTENT, ""))

    def _delete(self) -> None:
        # In the foreground: the name is free when its pods have gone, so that no two write the same checkpoints.
        self.cluster.delete(self.kind.group_version, self.kind.plural, self.draft.name, foreground=True)

    @property
    def _name(self) -> str:
        return f"{self.kind.name} {self.cluster.namespace}/{self.draft.name}"


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end the block as `SystemExit`, so that it can clean up.

    Argo sends it to all processes of a step whose run is terminated, Kubeflow's launcher and this one, and looks once a
    second whether the launcher has ended, when it ends the container (argo-workflows v3, workflow/executor/os-specific/
    signal_darwin.go, which Linux shares: Kill, Wait). Where that is too short, the job goes with its Workflow.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
