"""What KServe 0.21's webhook refuses (`shared/schemas/README.md`; kserve#5672)."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = ROOT / os.environ.get("SCHEMAS", "../shared/schemas")
INFERENCE_SERVICE = "inferenceservice-serving-v1beta1"
MODE = "serving.kserve.io/deploymentMode"
_IMPLEMENTATIONS = {"model", "pytorch", "tensorflow", "sklearn", "xgboost", "triton", "onnx", "containers"}
_SCALING = ("maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling")


class DeniedError(Exception):
    """Admission said no."""


@cache
def schema(name: str) -> Draft7Validator:
    """The validator of a custom resource; the test is skipped where the schemas are not."""
    path = SCHEMAS / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no schemas in {SCHEMAS}; set SCHEMAS")
    return Draft7Validator(json.loads(path.read_text()))


def admit(new: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Raise when the API server or KServe would refuse `new` in place of `old`."""
    plain = {key: value for key, value in new.items() if key != "status"}
    errors = schema(INFERENCE_SERVICE).iter_errors(plain)
    problems = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]
    stable, canaries = new["spec"]["predictor"], new["spec"].get("canary") or []
    if old and new["metadata"].get("annotations", {}).get(MODE) != old["metadata"].get("annotations", {}).get(MODE):
        problems.append("update rejected: deploymentMode cannot be changed")
    if stable.get("maxReplicas") and stable.get("minReplicas", 1) > stable["maxReplicas"]:
        problems.append("MinReplicas cannot be greater than MaxReplicas")
    if old and _renamed_without_model(stable, old["spec"]["predictor"]):
        problems.append("predictor.name change requires a model change (e.g. storageUri)")
    if stable.get("model", {}).get("name"):
        problems.append("the 'name' field is not allowed in standard predictor")
    problems += _of_canaries(new, stable, canaries)
    if problems:
        raise DeniedError("; ".join(problems))


def _renamed_without_model(new: dict[str, Any], old: dict[str, Any]) -> bool:
    same_model = new.get("model", {}).get("storageUri") == old.get("model", {}).get("storageUri")
    return new.get("name", "") != old.get("name", "") and same_model


def _of_canaries(new: dict[str, Any], stable: dict[str, Any], canaries: list[dict[str, Any]]) -> list[str]:
    if not canaries:
        return []
    problems = []
    if new["metadata"].get("annotations", {}).get(MODE, "Standard") != "Standard":
        problems.append("canary is only supported in Standard mode")
    names = [entry["predictor"].get("name", "") for entry in canaries]
    if "" in names or len({stable.get("name", ""), *names}) <= len(names):
        problems.append(f"canary predictor names must be unique and differ from the stable one's: {names}")
    if sum(entry["trafficPercent"] for entry in canaries) > 100:
        problems.append("canary traffic percentages sum to more than 100")
    for entry in canaries:
        predictor = entry["predictor"]
        if len(_IMPLEMENTATIONS & set(predictor)) != 1:
            problems.append("exactly one implementation must be specified in a canary predictor")
        if scaling := [field for field in _SCALING if field in predictor]:
            problems.append(f"canary predictor must not set {scaling}")
        if predictor.get("minReplicas", 0) > stable.get("minReplicas", 1):
            problems.append("canary minReplicas must not be above the stable predictor's")
    return problems
