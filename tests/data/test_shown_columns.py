"""What receipts say of items: columns that a dataset declares, and that any of its files may lack."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind
from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.layout import INTERACTION_COLUMNS, schema_of
from pagoda.data.spec import SHOWN, Categorical, FeatureSpec
from tests.data.folders import interaction, moment, write_dataset

SPEC = FeatureSpec(receipts=True)
DAY = "date=2024-05-01"
TOLD = {"arm": "canary", "generation": "g2", "channels": ["popular"], "position": 3, "propensity": 0.25}


def row(time: str, **more: object) -> dict[str, object]:
    return {**{name: interaction(moment(time))[name] for name in INTERACTION_COLUMNS}, **more}


def written(path: Path, **changes: object) -> Path:
    """A day of two files: one from before receipts were declared, one with them."""
    told = {**TOLD, **changes}
    write_dataset(path, spec=SPEC, parts=[(DAY, [row("10:00")])], items=[{"item_id": 10}], users=[{"user_id": 1}])
    (old,) = (path / "interactions" / DAY).glob("*.parquet")
    pq.write_table(pq.read_table(old, partitioning=None).select(list(INTERACTION_COLUMNS)), old)
    after = pa.Table.from_pylist([row("11:00", **told)], schema_of(SPEC, "interactions"))
    pq.write_table(after, old.with_name("part-1.parquet"))
    return path


def test_files_of_before_have_no_values_and_those_of_after_have_theirs(tmp_path: Path) -> None:
    path = written(tmp_path / "d")
    assert check_dataset(path).report.ok
    (batch,) = Dataset.open(path).batches(columns=["timestamp", *SHOWN])
    before, after = batch.select(list(SHOWN)).to_pylist()
    assert before == dict.fromkeys(SHOWN) and after == TOLD


def test_without_the_declaration_the_columns_are_not_allowed(tmp_path: Path) -> None:
    path = written(tmp_path / "d")
    (path / "features.yaml").write_text("{}\n")
    found = {problem.column for problem in check_dataset(path).report.problems if problem.kind is Kind.EXTRA_COLUMN}
    assert found == set(SHOWN)


@pytest.mark.parametrize(
    ("change", "column"),
    [({"propensity": 0.0}, "propensity"), ({"propensity": 1.5}, "propensity"), ({"position": -1}, "position")],
)
def test_what_no_receipt_says_is_found(tmp_path: Path, change: dict[str, object], column: str) -> None:
    (problem,) = check_dataset(written(tmp_path / "d", **change)).report.problems
    assert (problem.kind, problem.column, problem.row) == (Kind.WEIGHT, column, 1)


def test_no_feature_can_have_such_a_name_where_receipts_are_declared() -> None:
    arm = Categorical(name="arm", tower="user", source="context")
    assert FeatureSpec(features=(arm,)).features == (arm,)
    with pytest.raises(ValueError, match="'arm'"):
        FeatureSpec(features=(arm,), receipts=True)
    with pytest.raises(ValueError, match="positive_weight 'propensity' is a column with another meaning"):
        FeatureSpec(positive_weight="propensity", receipts=True)
    assert "receipts" not in FeatureSpec().model_dump() and FeatureSpec(receipts=True).model_dump()["receipts"] is True


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        ("", "", dict.fromkeys(SHOWN)),
        (
            ",channels,position",
            ",popular|fresh,4",
            {**dict.fromkeys(SHOWN), "channels": ["popular", "fresh"], "position": 4},
        ),
    ],
)
def test_an_import_takes_what_the_log_has_of_them(
    tmp_path: Path, columns: str, values: str, expected: dict[str, object]
) -> None:
    (tmp_path / "features.yaml").write_text("receipts: true\n")
    (tmp_path / "log.csv").write_text(
        f"user_id,item_id,timestamp{columns}\n1,1,2024-05-01T09:00:00Z{values}\n2,1,2024-05-01T09:00:01Z{values}\n"
    )
    job = Import(CsvReader(), tmp_path / "log.csv", features=tmp_path / "features.yaml")
    import_files(tmp_path / "out", job)
    (batch,) = Dataset.open(tmp_path / "out").batches(columns=list(SHOWN))
    assert batch.to_pylist() == [expected] * 2
