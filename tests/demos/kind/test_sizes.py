"""What docs/kind.md says that its node must have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from pipelines.pipeline_package import Package
from tests.helm.charts import pod_template

from .page import PAGE, calls, chart, row

MINIO_MIB = 2048
"""What the operator's MinIO asks for; the page names the file."""


def _requests(asked: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Millicores and MiB."""
    cpu, memory = zip(*((parse_quantity(one["cpu"]), parse_quantity(one["memory"])) for one in asked), strict=True)
    return int(sum(cpu) * 1000), int(sum(memory) / 2**20)


def _steps() -> list[dict[str, str]]:
    """What each step of the full update asks for, by parameters or not."""
    pairs = re.findall(
        r"resourceCpuRequest: (.*)\n(?:.*\n)?\s*resourceMemoryRequest: (.*)", Package.of("full-update").text
    )
    return [{"cpu": cpu.strip("'"), "memory": memory.strip("'")} for cpu, memory in pairs]


def test_pagodas_own_pods_ask_for_what_the_page_says() -> None:
    pods = [pod_template(one)["spec"] for kind in ("Deployment", "StatefulSet") for one in chart().of(kind)]
    pods += [one["spec"] for one in chart().of("ServingRuntime")]
    assert row("Pagoda") == _requests(one["resources"]["requests"] for pod in pods for one in pod["containers"])


def test_milvus_asks_for_what_the_page_says() -> None:
    (milvus,) = chart().of("Milvus")
    cpu, memory = _requests([milvus["spec"]["components"]["standalone"]["resources"]["requests"]])
    assert row("Milvus, its MinIO and etcd") == (cpu, memory + MINIO_MIB)


def test_no_step_of_the_update_asks_for_more_than_the_page_says() -> None:
    (run,) = [call for call in calls(".venv/bin/pagoda") if call[0] == "pipelines"]
    given = dict(word.split("=", 1) for word in run if "=" in word)
    training = {"cpu": given["train_cpu"], "memory": given["train_memory"]}
    steps = [step if "{" not in step["cpu"] else training for step in _steps()]
    assert len(steps) == len(Package.of("full-update").text.split("resourceMemoryRequest")) - 1
    assert max(_requests([step]) for step in steps) == row("the largest step of an update")


def test_the_sum_is_the_sum() -> None:
    names = re.findall(r"^\| ([\w, -]+) \| \d+m? \| \d+(?:Mi)? \| ", PAGE, re.MULTILINE)
    assert row("in all") == tuple(map(sum, zip(*map(row, names), strict=True)))
