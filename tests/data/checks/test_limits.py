"""What no collection can hold is refused where it comes in, by the item's own ID, file and row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.spec import Categorical, FeatureSpec, MultiValued, Rules, write_spec
from pagoda.errors import DataError, RequestError
from pagoda.item_changes.changes import upserted
from tests.data.folders import interaction, moment, write_dataset

SPEC = FeatureSpec(
    id_type="string",
    features=(
        Categorical(name="kind", tower="item", filterable=True),
        Categorical(name="note", tower="item"),
        MultiValued(name="tags", tower="item", filterable=True),
    ),
    rules=Rules(weight="weight"),
)
LONG, MANY = "é" * 550, [str(tag) for tag in range(300)]
CASES = [
    ({"kind": LONG}, Kind.TOO_LONG, "kind"),
    ({"tags": MANY}, Kind.TOO_MANY, "tags"),
    ({"tags": ["a", LONG]}, Kind.TOO_LONG, "tags"),
    ({"weight": -1.0}, Kind.WEIGHT, "weight"),
]


def csv_of(value: Any) -> str:
    return "|".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("wrong", "kind", "column"), CASES)
def test_import_and_check_name_item_file_and_row(
    tmp_path: Path, wrong: dict[str, Any], kind: Kind, column: str
) -> None:
    fine = {"kind": "a", "note": LONG, "tags": ["x"], "weight": 1.0}
    items = [{"item_id": "B1", **fine}, {"item_id": "B2", **fine, **wrong}]
    write_spec(SPEC, tmp_path / "features.yaml")
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nu,B1,2024-05-01T09:00:00Z\n")
    rows = [",".join(csv_of(value) for value in item.values()) for item in items]
    (tmp_path / "items.csv").write_text("\n".join([",".join(items[0]), *rows]))
    job = Import(CsvReader(), tmp_path / "log.csv", items=tmp_path / "items.csv", features=tmp_path / "features.yaml")
    with pytest.raises(DataError, match=rf"items.csv, column '{column}', row 2, item 'B2': "):
        import_files(tmp_path / "out", job)
    log = {key: value for key, value in interaction(moment("10:00"), "u", "B1").items() if key != "device"}
    parts = [("date=2024-05-01", [log])]
    path = write_dataset(tmp_path / "d", spec=SPEC, parts=parts, users=[{"user_id": "u"}], items=items)
    (problem,) = check_dataset(path).report.problems
    assert (problem.kind, problem.column, problem.row, problem.item) == (kind, column, 2, "'B2'")


@pytest.mark.parametrize("weight", ["-1", "inf", "1e31"])
def test_import_and_check_name_the_row_of_a_positive_that_has_no_weight(tmp_path: Path, weight: str) -> None:
    write_spec(FeatureSpec(history=None, positive_weight="dwell"), tmp_path / "features.yaml")
    rows = ["user_id,item_id,timestamp,dwell", "1,10,2024-05-01T09:00:00Z,", f"1,11,2024-05-01T09:01:00Z,{weight}"]
    (tmp_path / "log.csv").write_text("\n".join(rows))
    job = Import(CsvReader(), tmp_path / "log.csv", features=tmp_path / "features.yaml")
    with pytest.raises(DataError, match=r"log.csv, column 'dwell', row 2: value .*: a positive's weight is from 0"):
        import_files(tmp_path / "out", job)
    log = [{"user_id": 1, "item_id": item, "event": "click", "timestamp": moment("10:00")} for item in (10, 11)]
    log[1]["dwell"] = float(weight)
    spec = FeatureSpec(history=None, positive_weight="dwell")
    items = [{"item_id": item} for item in (10, 11)]
    parts = [("date=2024-05-01", log)]
    path = write_dataset(tmp_path / "d", spec=spec, parts=parts, users=[{"user_id": 1}], items=items)
    (problem,) = check_dataset(path).report.problems
    assert (problem.kind, problem.column, problem.row) == (Kind.WEIGHT, "dwell", 2)


@pytest.mark.parametrize("wrong", [wrong for wrong, *_ in CASES])
def test_item_changes_are_refused_at_their_door(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=r"upsert\.0: item '?B2'?, column"):
        upserted(SPEC, {"item_id": "B2", **wrong}, "upsert.0")


def test_an_item_id_may_have_1024_bytes(tmp_path: Path) -> None:
    for length, right in ((1024, True), (1025, False)):
        (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp\nu,{'i' * length},2024-05-01T09:00:00Z\n")
        job = Import(CsvReader(), tmp_path / "log.csv")
        if right:
            import_files(tmp_path / "out", job)
        else:
            with pytest.raises(DataError, match=r"column 'item_id', row 1: .*1,024 bytes"):
                import_files(tmp_path / "other", job)
