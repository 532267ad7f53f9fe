"""Running a notebook as somebody does who opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


def read(name: str) -> Any:
    """The notebook of this name."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def run(notebook: Any, folder: Path) -> None:
    """Run all of its cells in a folder, in a kernel of their own; CellExecutionError says which one failed."""
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=500, kernel_name="python3", resources=place).execute()


def printed(notebook: Any) -> str:
    """All that its cells print."""
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
