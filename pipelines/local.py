"""Run a pipeline on this machine with the Kubeflow Pipelines local runner."""

from __future__ import annotations

import logging
import os
from typing import Any

from kfp import local
from kfp.dsl.graph_component import GraphComponent

from pagoda.errors import PagodaError
from pagoda.settings import HOME_VARIABLE, Settings


def run_locally(pipeline: GraphComponent, settings: Settings, arguments: dict[str, Any]) -> Any:
    """Run `pipeline` step by step, each in a process of its own, and return its output.

    The steps find their installation by `PAGODA_HOME`, as the containers on a cluster do by their environment.

    Raises:
        PagodaError: A step failed; its log names the reason.
    """
    os.environ[HOME_VARIABLE] = str(settings.home)
    runs = settings.home / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    logging.getLogger().setLevel(logging.WARNING)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(runs), raise_on_error=True)
    try:
        return pipeline(**arguments).output
    except RuntimeError as error:
        raise PagodaError(f"pipeline {pipeline.name}: {error}") from error
