"""Driver, KServe, autoscaler, kubelet, `helm upgrade` and operators in any order: the stable arm keeps its pods."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pagoda.cluster import MANAGER
from pagoda.errors import ConflictError, GateError
from pagoda.rollout import commands
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.state.log_reading import rollout_of
from pagoda.rollout.state.machine import Phase
from tests.rollout.kserve.fakes.apiserver import FakeCluster, served
from tests.rollout.kserve.fakes.fields import read
from tests.rollout.kserve.fakes.standard import SOURCE
from tests.rollout.kserve.fakes.webhook import DeniedError
from tests.rollout.worlds import add_full, quick

from .stage import OnFake, chart

pytestmark = pytest.mark.integration

OURS = (
    *(("spec", "predictor", name) for name in ("name", "minReplicas", "maxReplicas", "canaryTrafficPercent")),
    ("spec", "predictor", "model", "storageUri"),
    ("spec", "canary"),
)
_NO_CANARIES: dict[str, Any] = {"spec": {"canary": []}}
_EDITS: tuple[dict[str, Any], ...] = (
    {"metadata": {"labels": {"team": "recall"}}},
    {"spec": {"predictor": {"minReplicas": 7}}},
    {"spec": {"predictor": {"nodeSelector": {"pool": "by-hand"}}}},
    _NO_CANARIES,
)


class Interleaving(RuleBasedStateMachine):
    """One InferenceService in Standard mode, without an autoscaler."""

    found = chart("Standard")
    maximum = 0
    shared: tuple[list[str], ...] = ()
    """Owners that a field of ours may have beside the driver."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = FakeCluster()
        self.server = served(self.cluster)
        self.minimum = self.floor = 2
        self.stage = OnFake(self.cluster, self.server.__enter__(), self.found, Bounds(2, self.maximum))
        self.versions = 2
        self.begin()

    def begin(self) -> None:
        with contextlib.suppress(ConflictError, GateError):
            commands.start(self.stage.log, f"g{self.versions}", policy=quick(grace_seconds=15), by="pipeline")

    @rule(times=st.integers(1, 6), seconds=st.sampled_from([0.5, 2.0, 11.0]))
    def all_is_well(self, times: int, seconds: float) -> None:
        for _ in range(times):
            self.stage.step(seconds)
            self.check()

    @rule()
    def drive(self) -> None:
        self.stage.driver.reconcile()
        self.stage.clock.forward(1)

    @rule()
    def kserve(self) -> None:
        self.cluster.reconcile()

    @rule(what=st.sampled_from(["observe", "scale", "start"]))
    def workloads(self, what: str) -> None:
        getattr(self.cluster.workloads, what)()

    @rule(load=st.sampled_from([None, 1, 4, 9]))
    def traffic(self, load: int | None) -> None:
        self.cluster.workloads.load = load
        self.cluster.knative.load = load or 0

    @rule(release=st.sampled_from(["v0.20.0", "main"]), own=st.booleans(), loops=st.booleans())
    def another_kserve(self, release: str, own: bool, loops: bool) -> None:
        standard, knative = self.cluster.standard, self.cluster.knative
        standard.release, standard.loops = release, loops
        standard.own_generation = knative.own_generation = own

    @rule()
    def another_driver(self) -> None:
        self.stage.backend = self.stage.connect(attempts=2)
        self.stage.driver = self.stage.drive()

    @rule(minimum=st.sampled_from([2, 3]), account=st.sampled_from(["tower", "other"]))
    def helm_upgrade(self, minimum: int, account: str) -> None:
        """The chart tells the driver the bounds, and KServe all else."""
        self.floor, self.minimum = min(self.floor, minimum), minimum
        self.stage.bounds = Bounds(minimum, self.maximum)
        spec = {"predictor": {**self.found["spec"]["predictor"], "serviceAccountName": account}}
        self.cluster.upgrade({**self.found, "spec": spec})
        self.another_driver()

    @rule(edit=st.sampled_from(_EDITS))
    def kubectl_edit(self, edit: dict[str, Any]) -> None:
        stable = self.stage.log.state().stable or ""
        if edit == _NO_CANARIES and f"v{stable[1:]}" in self.stage.percents():
            return  # Promoted, and not the predictor yet: who takes away what serves has it taken away by KServe.
        with contextlib.suppress(DeniedError):
            self.cluster.edit("kubectl-edit", edit)

    @rule(failures=st.integers(1, 9))
    def the_server_fails(self, failures: int) -> None:
        self.cluster.failures = [503] * failures
        self.drive()
        self.cluster.failures = []

    @rule(what=st.sampled_from([commands.abort, commands.force, commands.pause, commands.resume]))
    def operate(self, what: Any) -> None:
        with contextlib.suppress(ConflictError):
            what(self.stage.log, by="ann")

    @rule()
    def next_version(self) -> None:
        self.versions += 1
        add_full(self.stage.log, self.versions)
        self.begin()

    @invariant()
    def check(self) -> None:
        stable = self.stage.log.state().stable
        assert stable is not None and self.stage.ready(stable) >= self.least()

    def least(self) -> int:
        """Pods that the stable arm may not lack."""
        return self.floor

    def teardown(self) -> None:
        """All is well again, and goes on."""
        self.another_kserve("main", own=False, loops=False)
        self.operate(commands.resume)
        try:
            self.settle()
        finally:
            self.server.__exit__(None, None, None)

    def settle(self) -> None:
        self.stage.until(Phase.FINISHED)
        for _ in range(6):
            self.stage.step()
        rollout, stable = rollout_of(self.stage.log.state()), self.stage.log.state().stable or ""
        assert rollout is not None and self.stage.ready(stable) >= self.promised()
        owned = self.cluster.objects[("inferenceservices", "tower")]
        owners = owned.owners
        for path in OURS:
            if read(owned.found, path) == []:
                continue  # Somebody's empty list of canaries says nothing.
            found = [name for (name, _), paths in owners.items() if path in paths]
            assert found in ([], [MANAGER], *self.shared)
        self.check_rest(f"tower-v{stable[1:]}-predictor")

    def promised(self) -> int:
        """Pods of the stable arm when all is at rest."""
        return self.minimum

    def check_rest(self, name: str) -> None:
        """That nothing but the stable arm's Deployment, of this name, is left."""
        assert set(self.stage.pods) == {name} and not self.stage.spec.get("canary")
        assert self.cluster.standard.weights == {name: 100} and self.stage.autoscalers <= {name}
        assert self.stage.spec["predictor"]["minReplicas"] == self.minimum


class Scaled(Interleaving):
    """With an autoscaler."""

    found = chart("Standard", scaled=True, scaleTarget=70)
    maximum = 12


class OnKnative(Interleaving):
    """In Knative mode, where any change of the predictor is a revision, with pods of its own."""

    found = chart("Knative")
    # Pods that an edit made are what the next version begins with: the same number, and so the editor's too.
    shared = ([MANAGER, "kubectl-edit"],)

    def promised(self) -> int:
        # After a rollback the stable revision is not the newest, so that it keeps what it began with.
        return self.floor

    def check_rest(self, _name: str) -> None:
        serving = [revision for revision, percent in self.cluster.knative.weights.items() if percent]
        stable = self.stage.log.state().generation(self.stage.log.state().stable or "")
        (found,) = (self.cluster.get("deployments", f"{revision}-deployment") for revision in serving)
        assert found is not None and found["metadata"]["annotations"][SOURCE] == stable.tower.uri


def run(machine: type[Interleaving], examples: int, steps: int, *, anew: bool = False) -> None:
    chosen = settings(
        max_examples=examples,
        derandomize=not anew,  # The search for new courses is the long test's.
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.parametrize("machine", [Interleaving, Scaled, OnKnative])
def test_any_interleaving_keeps_the_stable_arm(machine: type[Interleaving]) -> None:
    run(machine, examples=5, steps=15)


@pytest.mark.long
@pytest.mark.parametrize("machine", [Interleaving, Scaled, OnKnative])
def test_many_interleavings_keep_the_stable_arm(machine: type[Interleaving]) -> None:
    run(machine, examples=150, steps=40, anew=True)
