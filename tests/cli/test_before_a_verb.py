"""What `pagoda` itself is asked: its release, and how a word that was begun may go on."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app


def test_the_release_is_that_which_pip_installed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"pagoda-recall {version('pagoda-recall')}\n")


@pytest.mark.parametrize(("begun", "rest"), [("pagoda rollo", "rollout"), ("pagoda rollout pr", "promote")])
def test_shells_complete_verbs(begun: str, rest: str) -> None:
    asked = {"_PAGODA_COMPLETE": "complete_bash", "COMP_WORDS": begun, "COMP_CWORD": str(begun.count(" "))}
    done = CliRunner().invoke(app, [], prog_name="pagoda", env=asked)
    assert done.output.split() == [rest]
