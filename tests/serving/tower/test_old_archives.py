"""Archives that were made long ago serve on: the handler is in them, so what it imports and calls stays as it was.

Moving or renaming any of this breaks the tower of every version that is loaded, at its next start.
"""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from pagoda.settings import Settings
from serving.tower.archive import HANDLER

IMPORTED = {
    "pagoda.embeddings.tables": {"TowerTables"},
    "pagoda.settings": {"load_settings"},
    "serving.tracing": {"PARENT", "on", "span", "start"},
    "serving.tower.replies": {"Replies"},
    "serving.tower.runtime": {"TowerRuntime"},
}
CALLED: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("pagoda.embeddings.tables", "TowerTables", (Path("tables"), 3), {}),
    ("pagoda.settings", "load_settings", (), {}),
    ("serving.tracing", "on", (), {}),
    ("serving.tracing", "span", ("tower.compute", {"traceparent": ""}), {"requests": 1}),
    ("serving.tracing", "start", ("tower", None), {}),
    ("serving.tower.replies", "Replies", (None, "3.0"), {}),
    ("serving.tower.replies", "Replies.to", (None, [b""]), {}),
    ("serving.tower.runtime", "TowerRuntime.load", (Path("model"), None), {}),
]


@pytest.mark.parametrize("module", IMPORTED)
def test_what_the_handler_in_an_archive_imports_is_where_it_was(module: str) -> None:
    assert vars(import_module(module)).keys() >= IMPORTED[module]


@pytest.mark.parametrize(("module", "name", "given", "named"), CALLED, ids=[f"{call[0]}.{call[1]}" for call in CALLED])
def test_what_the_handler_in_an_archive_calls_takes_what_it_gives(
    module: str, name: str, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    called: Any = import_module(module)
    for part in name.split("."):
        called = getattr(called, part)
    signature(called).bind(*given, **named)


def test_settings_say_where_the_tables_are_and_how_to_trace(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert (settings.tables_folder, settings.tracing.endpoint) == (tmp_path / "tables", "")


def test_the_handler_imports_nothing_else_of_ours() -> None:
    tree = ast.parse(files("serving.tower").joinpath(HANDLER).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "serving":
            found |= {f"serving.{each.name}" for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    assert {module for module in found if module.split(".")[0] in {"pagoda", "serving"}} == IMPORTED.keys()
