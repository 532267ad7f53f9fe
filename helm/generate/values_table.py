"""The table of values in the chart's README, from the comments of values.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

BEGIN, END = "<!-- values: made by `make charts` -->", "<!-- /values -->"
_KEY = re.compile(r"^( *)([A-Za-z0-9]+):")
_ABOUT = re.compile(r"^ *# -- (.*)")


def rows(text: str) -> Iterator[tuple[str, str, str]]:
    """Key, default as JSON, and meaning of every documented key, in order."""
    values = yaml.safe_load(text)
    path: list[tuple[int, str]] = []
    about = ""
    for line in text.splitlines():
        if found := _ABOUT.match(line):
            about = found[1]
        elif found := _KEY.match(line):
            indent, key = len(found[1]), found[2]
            path = [*(part for part in path if part[0] < indent), (indent, key)]
            if about:
                keys = [part[1] for part in path]
                yield ".".join(keys), json.dumps(_at(values, keys)), about
            about = ""


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values[key]
    return values


def table(chart: Path) -> str:
    """The table as Markdown."""
    lines = ["| key | default | meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{key}` | `{default}` | {about} |" for key, default, about in rows((chart / "values.yaml").read_text())
    ]
    return "\n".join(lines)


def text(chart: Path) -> str:
    """The chart's README with a fresh table."""
    before, rest = (chart / "README.md").read_text().split(BEGIN)
    return f"{before}{BEGIN}\n{table(chart)}\n{END}{rest.split(END)[1]}"


def write(chart: Path) -> None:
    """Renew the table in the chart's README."""
    (chart / "README.md").write_text(text(chart))
