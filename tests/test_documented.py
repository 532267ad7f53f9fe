"""What the README tells people to type is what the CLI understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from pagoda.cli.main import app

from .commands import parse

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (?:.*\$\()?(?:\.venv/bin/)?pagoda ([^|)\n]*)", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_understood(command: str) -> None:
    parse(typer.main.get_command(app), shlex.split(command, comments=True))


def test_the_way_from_files_to_answers_is_there() -> None:
    verbs = {" ".join(command.split()[:2]) for command in COMMANDS}
    assert verbs >= {"data import", "up --detach", "update full", "users load"}
