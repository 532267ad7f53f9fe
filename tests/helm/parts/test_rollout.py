"""The rollout driver on the InferenceService that the chart renders."""

from __future__ import annotations

import json
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from helm.generate.chart import Resource
from pagoda.rollout.backends.base import Target
from pagoda.rollout.backends.kserve import standard
from pagoda.rollout.backends.kserve.lease_memory import Memory
from pagoda.rollout.backends.kserve.objects import InferenceService
from pagoda.rollout.backends.kserve.replicas import Bounds
from pagoda.rollout.releasing import full_policy
from pagoda.settings import CollectionConfig, EvaluationSettings, RolloutSettings, Settings
from pipelines.kubernetes_platform import SETTINGS_KEYS
from tests.helm.charts import in_profile, with_values
from tests.helm.test_schemas import SCHEMAS

SCALING = {"maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"}


def _generation(version: int) -> Any:
    return SimpleNamespace(id=f"g{version}", full_version=version, tower=SimpleNamespace(uri=f"s3://pagoda/v{version}"))


@pytest.fixture
def running() -> Resource:
    """The rendered InferenceService, after the driver has put version 3 in."""
    service = deepcopy(in_profile("production").one("InferenceService", "pagoda-tower"))
    service["spec"]["predictor"]["name"] = "v3"
    service["spec"]["predictor"]["model"]["storageUri"] = "s3://pagoda/v3"
    return service


@pytest.fixture
def entry(running: Resource) -> dict[str, Any]:
    """What the driver adds for a canary of version 4."""
    target = Target(7, _generation(3), _generation(4), percent=10, capacity=10)
    (made,) = standard.plan(InferenceService(running, {}), target, Memory(base=3), Bounds(3, 12)).spec["canary"]
    return dict(made)


def test_should_give_both_arms_the_same_pods_but_for_the_version(running: Resource, entry: dict[str, Any]) -> None:
    def pods(predictor: dict[str, Any]) -> dict[str, Any]:
        model = {key: value for key, value in predictor["model"].items() if key not in ("name", "storageUri")}
        own = {"name", "minReplicas", "model", *SCALING}
        return {**{key: value for key, value in predictor.items() if key not in own}, "model": model}

    assert pods(entry["predictor"]) == pods(running["spec"]["predictor"])
    assert entry["predictor"]["serviceAccountName"] == "pagoda-tower"
    assert entry["predictor"]["model"]["storageUri"] == "s3://pagoda/v4"


def test_should_keep_scaling_out_of_a_canary(entry: dict[str, Any]) -> None:
    assert not SCALING & set(entry["predictor"])


def test_should_make_canaries_that_kserves_schema_accepts(running: Resource, entry: dict[str, Any]) -> None:
    path = SCHEMAS / "inferenceservice-serving-v1beta1.json"
    if not path.exists():
        pytest.skip(f"no schema {path}; set SCHEMAS")
    running["spec"]["canary"] = [entry]
    jsonschema.validate(running, json.loads(path.read_text()))


def test_should_hand_the_index_to_the_steps_that_build_it_and_to_who_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = with_values("index.kind=IVF_FLAT", "index.nlist=4096", "index.minimum_recall=0.95")
    for reader in ("pagoda-recall", "pagoda-rollout"):
        (container,) = chart.one("Deployment", reader)["spec"]["template"]["spec"]["containers"]
        assert "PAGODA_INDEX" in {variable["name"] for variable in container["env"]}
    monkeypatch.setenv("PAGODA_INDEX", chart.for_steps("ConfigMap")["data"]["PAGODA_INDEX"])
    assert Settings().index.collection == CollectionConfig(kind="IVF_FLAT", nlist=4096, minimum_recall=0.95)


def test_should_hand_to_the_steps_how_versions_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = with_values("evaluation.repeats=true", "evaluation.firstVersion=false")
    for key, value in chart.for_steps("ConfigMap")["data"].items():
        monkeypatch.setenv(key, value)
    assert Settings().evaluation == EvaluationSettings(repeats=True, first_version=False)


def test_should_hand_policies_to_those_who_start_rollouts() -> None:
    chart = with_values("rollout.policies.full.steps[0].percent=50", "rollout.policies.full.grace_seconds=60")
    settings = chart.for_steps("ConfigMap")["data"]
    assert set(settings) <= set(SETTINGS_KEYS), "the steps read all that is there for them"
    policy = full_policy(Settings(rollout=RolloutSettings(full_policy=settings["PAGODA_ROLLOUT__FULL_POLICY"])))
    assert (policy.steps[0].percent, policy.grace_seconds) == (50, 60)
    assert settings["PAGODA_ROLLOUT__BACKEND"] == "kserve"
    # In the driver's pod people start them by hand.
    (driver,) = chart.one("Deployment", "pagoda-rollout")["spec"]["template"]["spec"]["containers"]
    assert "PAGODA_ROLLOUT__FULL_POLICY" in {variable["name"] for variable in driver["env"]}
