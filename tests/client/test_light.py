"""What a program carries that only asks, and what who lacks the rest is told: as where extras are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pagoda.distribution import NAME

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {NAME, "pip", "setuptools"}
OWNERS = packages_distributions()
"""Distributions by the modules that they bring."""
HIDING = """
import json, sys
absent, program = set(json.loads(sys.argv[1])), sys.argv[2]

class Installed:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in absent else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Installed(finder) for finder in sys.meta_path]
sys.argv = ["pagoda", *sys.argv[3:]]
exec(program)
"""


def _held(extra: str) -> set[str]:
    """All distributions that are there with an extra; none: without any."""
    lines = [*PROJECT["dependencies"], *([f"{NAME}[{extra}]"] if extra else [])]
    found: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in lines]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for asked in ("", *requirement.extras):
            if (name, asked) not in found:
                found.add((name, asked))
                todo += [(Requirement(line), asked) for line in _needs(name, asked)]
    return {name for name, _ in found}


def _needs(name: str, extra: str) -> list[str]:
    if name == NAME:
        return list(PROJECT["optional-dependencies"][extra]) if extra else []
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        return []


def _run(extra: str, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program where only what an extra brings is installed."""
    held = _held(extra) | OURS
    absent = [top for top, names in OWNERS.items() if not held & {canonicalize_name(name) for name in names}]
    assert "mlflow" in absent and "pydantic" not in absent
    command = [sys.executable, "-c", HIDING, json.dumps(absent), program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_client_carries_nothing_heavy() -> None:
    program = (
        "import sys, json, pagoda; alone = set(sys.modules); from pagoda import AsyncClient, Client, Event; "
        "print(json.dumps([sorted(alone), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    alone, with_client = ({name.split(".")[0] for name in names} for names in json.loads(done.stdout))
    assert not alone & {"pydantic", "httpx", "asyncio"}, "`import pagoda` alone imports next to nothing"
    assert "httpx" in with_client
    assert not with_client & {"torch", "pyarrow", "mlflow", "numpy", "pandas", "fsspec", "boto3", "xxhash", "typer"}


def test_without_extras_there_are_the_client_and_the_command() -> None:
    program = "import pagoda; pagoda.Client('http://here').close(); from pagoda.cli.main import main; main()"
    done = _run("", program, "--help")
    assert done.returncode == 0, done.stderr
    assert "update" in done.stdout


@pytest.mark.parametrize(
    ("verb", "extra"),
    [
        (("data", "check", "nowhere"), "train"),
        (("update", "full", "--data", "nowhere"), "standalone"),
    ],
)
def test_a_verb_says_which_extra_it_lacks(verb: tuple[str, ...], extra: str) -> None:
    done = _run("", "from pagoda.cli.main import main; main()", *verb)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("ConfigError: ") and line.endswith(f'is not installed: pip install "{NAME}[{extra}]"')


@pytest.mark.long
def test_the_extra_of_training_is_all_that_notebooks_and_experiments_need() -> None:
    used = ("notebook", "updates.version_opening", "updates.mining.mine", "replay.replay", "simulation")
    done = _run("train", "\n".join(f"import pagoda.{room}" for room in used))
    assert done.returncode == 0, done.stderr
