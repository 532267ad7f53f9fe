"""Run a pipeline on this machine with the Kubeflow Pipelines local runner."""

from __future__ import annotations

import copy
import io
import os
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from kfp import local
from kfp.dsl.graph_component import GraphComponent

from pagoda.errors import PagodaError
from pagoda.settings import HOME_VARIABLE, Settings

Report = Callable[[str, str], None]
"""Told a step's name, and `running`, `SUCCESS` or `FAILURE`."""
_COLOUR = re.compile(r"\x1b\[\d+m")
_STARTED = re.compile(r"Executing task '(.+)'")
_ENDED = re.compile(r"Task '(.+)' finished with status (\w+)")
_ERROR = re.compile(r"^\s*((?:\w+\.)*\w+Error: .+)$", re.MULTILINE)


def run_locally(
    pipeline: GraphComponent, settings: Settings, arguments: dict[str, Any], report: Report | None = None
) -> Any:
    """Run `pipeline` step by step, each in a process of its own, and return its output.

    The steps find their installation by `PAGODA_HOME`, as the containers on a cluster do by their environment.
    What they print goes to `logs/<pipeline>.log` below home. A step that fails is not tried again: nobody moves it to
    another node here, and who waits for the answer would wait minutes to be told of a typing error.

    Raises:
        PagodaError: A step failed; the message ends with the step's own error.
    """
    os.environ[HOME_VARIABLE] = str(settings.home)
    path = settings.home / "logs" / f"{pipeline.name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(settings.home / "runs"), raise_on_error=True)
    with path.open("w") as file, redirect_stdout(_Transcript(file, report)), warnings.catch_warnings():
        # That resources have no effect here and that the image is not Python's own is as intended.
        warnings.simplefilter("ignore")
        try:
            return without_retries(pipeline)(**arguments).output
        except RuntimeError as error:
            raise PagodaError(_failure(pipeline.name, path, error)) from error


def without_retries(pipeline: GraphComponent) -> GraphComponent:
    """A copy of `pipeline` each of whose steps runs once, those of loops and conditions included."""
    once = copy.deepcopy(pipeline)
    spec = once.pipeline_spec
    for group in (spec.root, *spec.components.values()):
        for task in group.dag.tasks.values():
            task.ClearField("retry_policy")
    return once


class _Transcript(io.TextIOBase):
    """Writes what the runner prints to a file, and reports the steps it tells of."""

    def __init__(self, file: io.TextIOBase, report: Report | None) -> None:
        self._file, self._report = file, report

    def write(self, text: str) -> int:
        plain = _COLOUR.sub("", text)
        self._file.write(plain)
        self._file.flush()
        if self._report and (started := _STARTED.search(plain)):
            self._report(started[1], "running")
        if self._report and (ended := _ENDED.search(plain)):
            self._report(ended[1], ended[2])
        return len(text)


def last_error(log: Path) -> str | None:
    """The last line of a log that names an error and says what it is; None where there is none."""
    reasons = _ERROR.findall(log.read_text())
    return str(reasons[-1]) if reasons else None


def _failure(name: str, log: Path, error: RuntimeError) -> str:
    return f"pipeline {name}: {last_error(log) or error}\nAll that its steps printed: {log}"
