"""The chart: where it is, and how it is rendered."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pagoda.errors import ConfigError, UnavailableError

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "pagoda"
MANIFESTS = ROOT / "manifests"
RELEASE = NAMESPACE = "pagoda"
PROFILES = ("minimal", "production", "knative", "compact")

Resource = dict[str, Any]


def tool(name: str) -> str:
    """Path of `helm` or `kubectl`: beside this Python (`make .venv/tools` puts them there), else on PATH.

    Raises:
        UnavailableError: It is not installed.
    """
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if not found:
        raise UnavailableError(f"{name} is not installed: run `make .venv/tools`")
    return found


def render(*arguments: str, chart: Path = CHART, hooks: bool = True) -> list[Resource]:
    """The resources that `helm template` makes with these arguments.

    Raises:
        ConfigError: Helm refuses them; the message is Helm's.
    """
    command = [tool("helm"), "template", RELEASE, str(chart), "--namespace", NAMESPACE, *arguments]
    return resources(_run([*command, *([] if hooks else ["--no-hooks"])]))


def profile(name: str, *arguments: str, hooks: bool = True) -> list[Resource]:
    """The resources of one profile."""
    return render("--values", str(CHART / "profiles" / f"{name}.yaml"), *arguments, hooks=hooks)


def kustomized(folder: Path) -> list[Resource]:
    """The resources that `kubectl kustomize` makes of `folder`.

    Raises:
        ConfigError: Kustomize refuses it.
    """
    return resources(_run([tool("kubectl"), "kustomize", str(folder)]))


def resources(text: str) -> list[Resource]:
    """The documents of a YAML stream, empty ones left out."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def identity(resource: Resource) -> tuple[str, str]:
    """What tells resources apart: kind and name."""
    return str(resource["kind"]), str(resource["metadata"]["name"])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(done.stderr.strip())
    return done.stdout
