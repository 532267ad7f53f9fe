"""What Helm itself says, and that what is made of the chart is fresh."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.generate import values_schema, values_table
from helm.generate.chart import CHART, NAMESPACE, PROFILES, identity, tool
from pipelines.compile import COMPILED, compile_all

from .charts import EVERYTHING, Chart, with_values


@pytest.mark.parametrize("profile", ["defaults", *PROFILES])
def test_should_lint_strictly(profile: str) -> None:
    values = [] if profile == "defaults" else ["--values", str(CHART / "profiles" / f"{profile}.yaml")]
    done = subprocess.run([tool("helm"), "lint", "--strict", str(CHART), *values], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_should_render_one_resource_of_each_kind_and_name(chart: Chart) -> None:
    names = [identity(resource) for resource in chart.resources]
    assert len(names) == len(set(names))


def test_should_fit_names_of_the_longest_release() -> None:
    """A label ends at 63 characters; a CronJob's name at 52, since its jobs add the time."""
    chart = with_values(*EVERYTHING, "pipelines.publish=job", f"fullnameOverride={'x' * 60}")
    for resource in chart.resources:
        kind, name = identity(resource)
        own = name.removeprefix(f"{NAMESPACE}.")  # Of what lies elsewhere, and is never a label.
        assert len(own) <= (52 if kind == "CronJob" else 63), (kind, name)
    (tower,) = chart.of("InferenceService")
    name = tower["metadata"]["name"]
    # As KServe and Knative name what they make of it.
    assert len(f"{name}-v99999-predictor") <= 63
    assert len(f"latest-{name}-predictor") <= 63


def test_should_name_every_variable_and_port_of_a_container_once(chart: Chart) -> None:
    """Server-side apply tells list items apart by these."""
    for name, container in chart.containers():
        for part, key in (("env", "name"), ("ports", "containerPort"), ("volumeMounts", "mountPath")):
            keys = [item[key] for item in container.get(part, [])]
            assert len(keys) == len(set(keys)), (name, part)


def test_should_describe_every_value_in_the_readme() -> None:
    assert (CHART / "README.md").read_text() == values_table.text(CHART), "run `make charts`"


def test_should_document_every_value() -> None:
    text = (CHART / "values.yaml").read_text()
    documented = {key for key, _, _ in values_table.rows(text)}
    undocumented = {path for path in _leaves(yaml.safe_load(text)) if not _prefixes(path) & documented}
    assert not undocumented


def _leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def _prefixes(path: str) -> set[str]:
    parts = path.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def test_should_have_a_schema_for_every_value() -> None:
    assert (CHART / "values.schema.json").read_text() == values_schema.text(CHART), "run `make charts`"


def test_should_ship_the_pipelines_as_they_are_in_python(tmp_path: Path) -> None:
    fresh = {path.name: path.read_text() for path in compile_all(tmp_path)}
    assert fresh == {path.name: path.read_text() for path in COMPILED.glob("*.yaml")}, "run `make charts`"


def test_should_package_with_the_pipelines_inside(tmp_path: Path) -> None:
    subprocess.run(
        [tool("helm"), "package", str(CHART), "--destination", str(tmp_path)], check=True, capture_output=True
    )
    (package,) = tmp_path.glob("*.tgz")
    listing = subprocess.run(
        [sys.executable, "-m", "tarfile", "--list", str(package)], check=True, capture_output=True, text=True
    ).stdout
    assert "pagoda/files/pipelines/full-update.yaml" in listing
