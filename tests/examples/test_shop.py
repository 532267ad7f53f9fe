"""The shop of the examples: made again alike, imported as its page says, small."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pagoda.cli.main import app
from tests.commands import parse

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples" / "shop"
PAGE = (SHOP / "README.md").read_text()
COMMANDS = re.findall(r"^\$ pagoda (.*)$", PAGE, re.MULTILINE)
MADE = ("customers.csv", "items.csv", "log.csv")


def test_the_same_files_are_made_again(tmp_path: Path) -> None:
    runpy.run_path(str(SHOP / "make.py"))["main"](tmp_path)
    assert all((tmp_path / name).read_bytes() == (SHOP / name).read_bytes() for name in MADE)
    assert sum(path.stat().st_size for path in SHOP.iterdir() if path.is_file()) < 1 << 20


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_its_page_is_understood(command: str) -> None:
    parse(typer.main.get_command(app), shlex.split(command))


def test_it_is_imported_and_nothing_is_wrong_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    said = re.findall(r"^build/shop: .*$", PAGE, re.MULTILINE)
    for command, line in zip(COMMANDS[:2], said, strict=True):
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, result.output
        assert result.output.splitlines()[-1] == line
