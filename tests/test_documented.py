"""What the README tells people to type is what the CLI understands, and what pages point to is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from pagoda.cli.main import app

from .commands import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
COMMANDS = re.findall(r"^\$ (?:.*\$\()?(?:\.venv/bin/)?pagoda ([^|)\n]*)", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_understood(command: str) -> None:
    parse(typer.main.get_command(app), shlex.split(command, comments=True))


def test_the_way_from_files_to_answers_is_there() -> None:
    verbs = {" ".join(command.split()[:2]) for command in COMMANDS}
    assert verbs >= {"data import", "up --detach", "update full", "users load"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = {link.split("#")[0] for link in re.findall(r"\]\((?!https?:)([^)#][^)\s]*)\)", page.read_text())}
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_section_that_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text())
    pages = [(path, section) for path, section in links if not path or path.endswith(".md")]
    missing = [
        (path, section) for path, section in pages if section not in _sections(page.parent / path if path else page)
    ]
    assert not missing


def _sections(page: Path) -> set[str]:
    """As GitHub names them: in lower case, without punctuation, blanks as hyphens."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = [re.sub(r"\]\([^)]*\)", "", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/extending.md"])
def test_a_file_that_a_page_sends_one_to_is_there(name: str) -> None:
    named = re.findall(r"`((?:pagoda|serving|tests|pipelines|components)/[\w/.]*)`", (ROOT / name).read_text())
    paths = [path for path in named if "NAME" not in path]
    missing = [path for path in paths if not ((ROOT / path).exists() or (ROOT / f"{path}.py").exists())]
    assert not missing
