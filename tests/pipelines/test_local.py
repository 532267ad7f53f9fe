"""Pipelines on this machine, without servers: a refusal is told at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp.dsl.graph_component import GraphComponent

from pagoda.errors import PagodaError
from pagoda.settings import load_settings
from pipelines.local import run_locally, without_retries
from tests.pipelines.built import pipelines
from tests.training.worlds import make


def test_a_refused_step_is_not_tried_again(tmp_path: Path) -> None:
    make(tmp_path / "data")
    arguments = {"dataset": str(tmp_path / "data"), "window_end": "1969-01-01T00:00:00+00:00"}
    told: list[tuple[str, str]] = []
    with pytest.raises(PagodaError, match=r"nothing to learn.* would end at 1969-01-01"):
        run_locally(
            pipelines()["full-update"], load_settings(tmp_path / "home"), arguments, lambda *step: told.append(step)
        )
    assert told == [("load-window", "running"), ("load-window", "FAILURE")]


def test_no_step_is_tried_again_here_but_on_a_cluster() -> None:
    for pipeline in pipelines().values():
        assert not any(retries(without_retries(pipeline)).values())
        # Steps only: what stands for a loop has no retries of its own.
        assert sum(retries(pipeline).values()) == len(pipeline.pipeline_spec.deployment_spec["executors"])


def retries(pipeline: GraphComponent) -> dict[str, bool]:
    """Whether each task of a pipeline, in whatever group it is, has a retry policy."""
    spec: Any = pipeline.pipeline_spec
    groups = (spec.root, *spec.components.values())
    return {name: task.HasField("retry_policy") for group in groups for name, task in group.dag.tasks.items()}


def test_a_step_does_not_wait_for_what_it_does_not_use() -> None:
    code = (
        "import sys, pagoda.updates.full_steps, pagoda.rollout.releasing; assert 'torch' not in sys.modules;"
        "import pagoda.training.full.update; assert not {'sympy', 'torch._dynamo'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
