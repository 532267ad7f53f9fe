"""A step that follows a job, and a world that goes on while it sleeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from pagoda.data.window import Window, parse_moment
from pagoda.errors import ConflictError, UnavailableError
from pagoda.settings import Settings
from pagoda.settings.training import TrainingSettings
from pagoda.training_jobs.following import Following
from pagoda.training_jobs.job import JobDraft, PodNeeds
from pagoda.training_jobs.kinds import KINDS
from pagoda.training_jobs.pod import PodTask
from pagoda.training_jobs.step import draft_of
from pagoda.training_jobs.step_pod import StepPod
from pagoda.updates.full import FullUpdate
from tests.rollout.kserve.fakes.apiserver import StatusError
from tests.training_jobs.fakes.namespace import FakeNamespace, step_pod

FOUR = "distributed: {processes: 4}"


def update_in(home: Path, **training: Any) -> FullUpdate:
    """An update of an installation that trains by jobs."""
    window = Window(
        start=parse_moment("2026-11-28T00:00:00Z", "start"), end=parse_moment("2026-11-29T00:00:00Z", "end")
    )
    chosen = TrainingSettings(jobs="detected", **training)
    return FullUpdate(Settings(home=home, training=chosen), "s3://bucket/dataset", window, 3)


def draft_in(home: Path, config: str = FOUR, pods: int = 1, needs: PodNeeds | None = None, **training: Any) -> JobDraft:
    """The job of that update."""
    update = update_in(home, **training)
    task = PodTask(update={"key": update.key, "start": "", "end": ""}, config=config)
    return draft_of(update, task, StepPod.of(step_pod()), pods, needs or PodNeeds("4", "16Gi"))


class Killed(BaseException):
    """SIGKILL, which nothing handles."""


class MortalCluster:
    """The verbs of `Cluster` without HTTP; its user is killed before or after one of its calls."""

    namespace = "recall"

    def __init__(self, fake: FakeNamespace, calls: float = inf, *, after: bool = False) -> None:
        self._fake, self._calls, self._after = fake, calls, after

    def get(self, group_version: str, plural: str, name: str) -> Any:
        root = "api" if group_version == "v1" else "apis"
        return self._call("GET", f"/{root}/{group_version}/namespaces/recall/{plural}/{name}")

    def create(self, group_version: str, plural: str, body: Any) -> None:
        self._call("POST", f"/apis/{group_version}/namespaces/recall/{plural}", body)

    def delete(self, group_version: str, plural: str, name: str, *, foreground: bool = False) -> None:
        assert foreground
        policy = "propagationPolicy=Foreground"
        self._call("DELETE", f"/apis/{group_version}/namespaces/recall/{plural}/{name}?{policy}")

    def find(self, group_version: str, plural: str, selector: str) -> Any:
        return self._call("GET", f"/api/{group_version}/namespaces/recall/{plural}?labelSelector={selector}")["items"]

    def log(self, pod: str, container: str, lines: int) -> str:
        return str(
            self._call("GET", f"/api/v1/namespaces/recall/pods/{pod}/log?container={container}&tailLines={lines}")
        )

    def _call(self, method: str, url: str, body: Any = None) -> Any:
        self._calls -= 1
        if self._calls < 0 and not self._after:
            raise Killed
        try:
            found = self._fake.handle(method, url, "", body)
        except StatusError as error:
            if error.code == 409:
                raise ConflictError(str(error)) from error
            if error.code != 404:
                raise UnavailableError(str(error)) from error
            found = None
        if self._calls < 0:
            raise Killed
        return found


@dataclass
class Stage:
    """A namespace, and steps of one update in it, one after the other."""

    namespace: FakeNamespace
    draft: JobDraft
    plural: str
    done: bool = False
    told: list[str] = field(default_factory=list)
    cluster: Any = None
    """None: one without HTTP."""

    def follow(self, *events: str) -> None:
        """A step, during whose sleeps these things happen, one each; one more sleep is a failure of the test."""
        script = iter(events)
        self.step(script).run()
        assert list(script) == []

    def step(self, script: Iterator[str], cluster: Any = None) -> Following:
        """One step."""
        kind = next(each for each in KINDS.values() if each.plural == self.plural)
        seconds = [0.0]

        def sleep(pause: float) -> None:
            seconds[0] += pause
            self.play(next(script))

        return Following(
            cluster or self.cluster or MortalCluster(self.namespace),
            kind,
            self.draft,
            lambda: self.done,
            self.told.append,
            sleep=sleep,
            clock=lambda: seconds[0],
        )

    def play(self, event: str) -> None:
        """Something happens; what trains to its end shares its version."""
        self.done = self.done or (event == "complete" and self._can_complete())
        self.namespace.play(event)

    def _can_complete(self) -> bool:
        """Whether the job runs."""
        return bool(self.namespace.jobs) and not self._suspended()

    def _suspended(self) -> bool:
        spec = self.namespace.job["spec"]
        return bool(spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"))
