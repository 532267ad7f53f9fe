"""Every resource against its kind's schema: Kubernetes' own at each supported version, the others' from SCHEMAS."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from helm.generate.chart import ROOT, identity
from helm.generate.chart import Resource as Manifest

from .charts import distinct

SCHEMAS = ROOT / os.environ.get("SCHEMAS", "../shared/schemas")
KUBERNETES = Path(str(files("kubernetes_validate"))) / "kubernetes-json-schema"
VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
CUSTOM = {
    "serving.kserve.io",
    "milvus.io",
    "monitoring.coreos.com",
    "gateway.networking.k8s.io",
    "pipelines.kubeflow.org",
}
"""API groups that are not Kubernetes' own; any other unknown kind is a failure."""


def _group(resource: Manifest) -> str:
    return str(resource["apiVersion"].split("/")[0]) if "/" in resource["apiVersion"] else ""


@cache
def _folder(version: str) -> Path:
    """Strict schemas of a Kubernetes version: unknown fields are refused."""
    (folder,) = KUBERNETES.glob(f"v{version}.*-local-strict")
    return folder


@cache
def _definitions(version: str) -> Registry[Any]:
    definitions = Resource.from_contents(json.loads((_folder(version) / "_definitions.json").read_text()))
    return (definitions @ Registry()).crawl()


@cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    # kubernetes-validate's own call reads all definitions again for each resource: 60 ms instead of 1.
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = json.loads((_folder(version) / f"{kind.lower()}-{short}.json").read_text())
    return Draft202012Validator(schema, registry=Resource.from_contents(schema) @ _definitions(version))


@cache
def _custom(kind: str, api_version: str) -> Draft202012Validator:
    group, version = api_version.split("/")
    return Draft202012Validator(
        json.loads((SCHEMAS / f"{kind.lower()}-{group.split('.')[0]}-{version}.json").read_text())
    )


def _complaints(validator: Draft202012Validator, resource: Manifest) -> list[str]:
    return [f"{identity(resource)}: {error.json_path}: {error.message}" for error in validator.iter_errors(resource)]


@pytest.mark.parametrize("version", VERSIONS)
def test_should_be_valid_for_kubernetes(version: str) -> None:
    builtin = [resource for resource in distinct() if _group(resource) not in CUSTOM]
    assert len(builtin) > 50
    for resource in builtin:
        assert not _complaints(_validator(resource["kind"], resource["apiVersion"], version), resource)


def test_should_be_valid_for_the_operators_that_own_custom_resources() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"no schemas of custom resources in {SCHEMAS}; set SCHEMAS")
    custom = [resource for resource in distinct() if _group(resource) in CUSTOM]
    for resource in custom:
        assert not _complaints(_custom(resource["kind"], resource["apiVersion"]), resource)
    assert {resource["kind"] for resource in custom} == {
        "HTTPRoute",
        "InferenceService",
        "Milvus",
        "Pipeline",
        "PipelineVersion",
        "PodMonitor",
        "PrometheusRule",
        "ServiceMonitor",
        "ServingRuntime",
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"apiVersion": "v1", "kind": "Nonsense"}, "nonsense"),
        ({"apiVersion": "apps/v2", "kind": "Deployment"}, "deployment-apps-v2"),
    ],
)
def test_should_refuse_a_kind_that_kubernetes_does_not_know(wrong: Manifest, said: str) -> None:
    with pytest.raises(FileNotFoundError, match=said):
        _validator(wrong["kind"], wrong["apiVersion"], VERSIONS[0])


def test_should_refuse_a_field_that_kubernetes_does_not_know() -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"replica": 1}}
    assert "replica" in str(_complaints(_validator("Service", "v1", "1.37"), wrong))
