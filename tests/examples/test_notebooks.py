"""The notebooks of the examples run from the first cell to the last; `tests/pipelines` runs the one that asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from .notebooks import NOTEBOOKS, printed, read, run


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_nothing_that_somebodys_run_left_is_kept(name: str) -> None:
    for cell in read(name).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_movielens_goes_from_data_to_recommendations(tmp_path: Path) -> None:
    notebook = read("movielens")
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    parameters.source += "\nconfig['bootstrap_epochs'], rows = 1, 500"
    run(notebook, tmp_path)
    assert "times popularity's" in printed(notebook)
    outputs = str([cell.get("outputs") for cell in notebook.cells])
    assert "image/png" in outputs and "text/html" in outputs
