"""What KServe's webhooks make of an InferenceService, and refuse.

kserve/kserve at main of 2026-08-21 (aaac4e2), the same text at v0.20.0: pkg/apis/serving/v1beta1/
inference_service_defaults.go:163-285 and inference_service_validation.go:180-300, 440-565, 691-713.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[4]
SCHEMAS = ROOT / os.environ.get("SCHEMAS", "../shared/schemas")
INFERENCE_SERVICE = "inferenceservice-serving-v1beta1"
MODE = "serving.kserve.io/deploymentMode"
CLASS = "serving.kserve.io/autoscalerClass"
_IMPLEMENTATIONS = {"model", "pytorch", "tensorflow", "sklearn", "xgboost", "triton", "onnx", "containers"}
_SCALING = ("maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")  # scaleMetricType is not refused.


class DeniedError(Exception):
    """Admission said no."""


@cache
def schema(name: str) -> Draft7Validator:
    """The validator of a custom resource; it accepts all where the schemas are not."""
    path = SCHEMAS / f"{name}.json"
    return Draft7Validator(json.loads(path.read_text()) if path.is_file() else {})


def default(new: dict[str, Any]) -> None:
    """The defaulter: the mode's present name, and the whole typed object sent back with its empty fields."""
    notes = new["metadata"].setdefault("annotations", {})
    if notes.get(MODE) == "RawDeployment":
        notes[MODE] = "Standard"
    if model := new["spec"]["predictor"].get("model"):
        notes.setdefault("modelFormat", (model.get("modelFormat") or {}).get("name", ""))
        model.setdefault("name", "")
        model.setdefault("resources", {})


def admit(new: dict[str, Any], old: dict[str, Any] | None) -> None:
    """Raise when the API server or KServe would refuse `new` in place of `old`."""
    plain = {key: value for key, value in new.items() if key != "status"}
    errors = schema(INFERENCE_SERVICE).iter_errors(plain)
    problems = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in errors]
    stable, canaries = new["spec"]["predictor"], new["spec"].get("canary") or []
    mode = (new["metadata"].get("annotations") or {}).get(MODE)
    was = ((old or {}).get("status") or {}).get("deploymentMode")
    if was and mode and mode != was:
        problems.append(f"update rejected: deploymentMode cannot be changed from '{was}' to '{mode}'")
    problems += _of_scaling(new, stable, mode)
    if stable.get("maxReplicas") and stable.get("minReplicas", 1) > stable["maxReplicas"]:
        problems.append("MinReplicas cannot be greater than MaxReplicas")
    if old and _renamed_without_model(stable, old["spec"]["predictor"]):
        problems.append("predictor.name change requires a model change (e.g. storageUri)")
    if stable.get("model", {}).get("name"):
        problems.append("the 'name' field is not allowed in standard predictor")
    problems += _of_canaries(new, stable, canaries)
    if problems:
        raise DeniedError("; ".join(problems))


def _of_scaling(new: dict[str, Any], stable: dict[str, Any], mode: str | None) -> list[str]:
    metric, target = stable.get("scaleMetric"), stable.get("scaleTarget")
    if mode != "Standard":
        wrong = ["customizing deploymentStrategy is only supported for raw deployment mode"]
        problems = wrong if "deploymentStrategy" in stable else []
        return problems + (
            [f"[{metric}] is not a supported metric"] if metric not in (None, "concurrency", "rps") else []
        )
    if (new["metadata"].get("annotations") or {}).get(CLASS) != "hpa":
        return []
    problems = [f"[{metric}] is not a supported metric"] if metric not in (None, "cpu", "memory") else []
    if target is not None and not 1 <= target <= 100:
        problems.append("the target utilization percentage should be a [1-100] integer")
    return problems


def _renamed_without_model(new: dict[str, Any], old: dict[str, Any]) -> bool:
    same_model = new.get("model", {}).get("storageUri") == old.get("model", {}).get("storageUri")
    return new.get("name", "") != old.get("name", "") and same_model


def _of_canaries(new: dict[str, Any], stable: dict[str, Any], canaries: list[dict[str, Any]]) -> list[str]:
    if not canaries:
        return []
    problems = []
    if new["metadata"].get("annotations", {}).get(MODE) != "Standard":
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
