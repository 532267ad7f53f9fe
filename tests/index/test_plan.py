"""What collections will take, reckoned before there are any."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.index.in_process.index_folder import write_index
from pagoda.index.plan import IndexPlan, read_evidence
from pagoda.index.sizes import item_bytes
from pagoda.item_vectors.fields import ITEM_ID, VECTOR
from pagoda.settings import CollectionConfig
from pagoda.settings.index import Kind

_ROWS, _DIM = 3000, 33


@pytest.mark.parametrize("kind", ["HNSW", "HNSW_SQ8", "IVF_SQ8"])
def test_files_are_as_large_as_the_plan_says(tmp_path: Path, kind: Kind) -> None:
    vectors = np.random.default_rng(0).normal(size=(_ROWS, _DIM)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), _DIM)
    config = CollectionConfig(kind=kind, **({"nlist": 4} if kind == "IVF_SQ8" else {}))

    write_index(tmp_path / "index", pa.table({ITEM_ID: np.arange(_ROWS), VECTOR: column}), config, lambda _: None)

    each = item_bytes("in_process", config, _DIM)
    written = sum(path.stat().st_size for path in (tmp_path / "index").iterdir())
    assert written / _ROWS == pytest.approx(each.in_memory + each.mapped, rel=0.02)


def test_two_generations_have_to_fit() -> None:
    ways = {(way.backend, way.kind): way for way in IndexPlan(10**9, 128, 256 * 10**9).ways()}

    assert ways["in_process", "IVF_PQ"].fits
    assert not ways["in_process", "IVF_SQ8"].fits, "149 GB fit once, and not twice"
    assert CollectionConfig(
        **{name: value for name, value in ways["in_process", "IVF_PQ"].settings.items() if name != "backend"}
    )


def test_the_plan_tells_what_was_measured_and_what_was_not() -> None:
    asked = ["index", "plan", "--items", "1e6", "--dim", "64", "--memory", "4GB", "--output", "json"]
    told = json.loads(CliRunner().invoke(app, asked).stdout)["profiles"]

    (graph,) = [one for one in told if (one["backend"], one["kind"]) == ("in_process", "HNSW")]
    assert graph["measured"]["recall_at_100"] >= 0.98
    assert graph["measured"]["items"] == 100_000
    assert {row.dim for row in read_evidence()} == {64}


def test_no_plan_is_made_of_items_without_end() -> None:
    told = CliRunner().invoke(app, ["index", "plan", "--items", "inf", "--dim", "64", "--memory", "4GB"])
    assert (told.exit_code, "--items" in told.output) == (2, True)
