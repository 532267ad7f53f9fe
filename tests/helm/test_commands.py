"""What the pods run: processes that there are, with arguments that they understand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from pagoda.cli import main as cli
from pipelines.pipeline_package import Package
from tests.commands import parse

from .charts import Chart, rendered, with_values

ALL = (
    "retention.interactionDays=90",
    "workers.sink.enabled=true",
    "workers.items.enabled=true",
    "events.dataset=s3://pagoda/dataset",
)
SCHEDULES = ("pipelines.schedules.fullUpdate.enabled=true", "pipelines.schedules.incrementalUpdate.enabled=true")
ENTRIES = {
    "serving.recall": ("serving.recall.__main__", "main"),
    "serving.tower": ("serving.tower.__main__", "main"),
    "serving.tower.kserve": ("serving.tower.kserve.__main__", "main"),
    "serving.workers.follower": ("serving.workers.follower", "main"),
    "serving.workers.sink": ("serving.workers.sink", "main"),
    "serving.workers.items": ("serving.workers.items", "main"),
}
"""Where each module's command line is declared."""
OTHERS = {"mlflow", "sh -ec", "python -c"}


def _command(run: Callable[..., Any]) -> Any:
    app = typer.Typer()
    app.command()(run)
    return typer.main.get_command(app)


@pytest.fixture(scope="module")
def chart_with_all() -> Chart:
    """Every process that the chart can run, but for the tower on KServe's model server, which takes another's place."""
    return with_values(*ALL, *SCHEDULES)


def test_should_run_only_what_understands_its_arguments(chart_with_all: Chart) -> None:
    seen = set()
    pagoda = typer.main.get_command(cli.app)
    for _, container in (*chart_with_all.containers(), *with_values("tower.runtime=kserve").containers()):
        words = container.get("command", ["python", "-m", "pagoda"])
        if words[0] in OTHERS or " ".join(words[:2]) in OTHERS:
            continue
        module, arguments = words[2], [*words[3:], *container.get("args", [])]
        if module == "pagoda":
            parse(pagoda, arguments)
        else:
            place, function = ENTRIES[module]
            parse(_command(getattr(importlib.import_module(place), function)), arguments)
        seen.add(f"{module} {arguments[0]}" if module == "pagoda" else module)
    assert seen >= {*ENTRIES, "pagoda rollout", "pagoda retention", "pagoda pipelines"}


def test_should_schedule_with_parameters_that_the_pipelines_have(chart: Chart) -> None:
    for name, container in chart.containers():
        words = container.get("args", [])
        if words[:2] == ["pipelines", "schedule"]:
            given = [
                word.removeprefix("--parameter=").split("=")[0] for word in words if word.startswith("--parameter=")
            ]
            assert {"dataset"} <= set(given) <= set(Package.of(words[2]).parameters), name


def test_should_hand_parameters_on_as_they_were_meant(tmp_path: Path) -> None:
    given = {
        "dataset": "s3://pagoda/dataset",
        "config": "seed: 1\nepochs: 2\n",
        "train_node_selector": {"pool": "gpu"},
        "train_accelerators": 1,
        "export_shards": 12_345_678,
    }
    schedule = {"enabled": True, "pipeline": "full-update", "parameters": given}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"pipelines": {"schedules": {"fullUpdate": schedule}}}))
    (job,) = rendered("--values", str(values)).of("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    texts = [word.removeprefix("--parameter=") for word in container["args"] if word.startswith("--parameter=")]
    assert Package.of("full-update").read_parameters(dict(text.split("=", 1) for text in texts)) == given


def test_should_notice_an_argument_that_is_not_there() -> None:
    with pytest.raises(Exception, match="--fast"):
        parse(typer.main.get_command(cli.app), ["rollout", "drive", "--fast"])
