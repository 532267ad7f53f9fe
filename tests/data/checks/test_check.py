"""`pagoda data check`: every way in which a dataset can be wrong, and what is said about it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import pagoda.data.ids
from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.checks.problems import Kind, Problem
from pagoda.data.dataset import Dataset
from pagoda.data.layout import schema_of
from pagoda.data.parquet import open_writer
from pagoda.data.spec import Categorical, Feature, FeatureSpec, TimeOf
from pagoda.errors import ConfigError, DataError
from tests.data.folders import ITEMS, SPEC, USERS, Row, interaction, moment, put, write_dataset

DAY = "date=2024-05-01"
LOG = f"interactions/{DAY}/part-0.parquet"
STRINGS = FeatureSpec(id_type="string")


def only_problem(path: Path) -> Problem:
    report = check_dataset(path).report
    assert report.total == 1, [str(problem) for problem in report.problems]
    return report.problems[0]


def place(problem: Problem, path: Path) -> tuple[Kind, str, str | None, int | None, str | None]:
    return problem.kind, str(Path(problem.file).relative_to(path)), problem.column, problem.row, problem.value


def test_a_sound_dataset_has_no_problem(tmp_path: Path) -> None:
    checked = check_dataset(write_dataset(tmp_path / "d"))
    assert checked.report.ok
    assert checked.rows == {"interactions": 2, "users": 2, "items": 2}


good = interaction(moment("09:00"))


@pytest.mark.parametrize(
    ("bad", "kind", "column", "value"),
    [
        ({"user_id": None}, Kind.NULL, "user_id", "null"),
        ({"item_id": None}, Kind.NULL, "item_id", "null"),
        ({"event": None}, Kind.NULL, "event", "null"),
        ({"event": "klick"}, Kind.UNKNOWN_EVENT, "event", "'klick'"),
        ({"item_id": 99}, Kind.UNKNOWN_ITEM, "item_id", "99"),
        ({"timestamp": moment("08:59")}, Kind.ORDER, "timestamp", "2024-05-01T08:59:00+00:00"),
        ({"timestamp": datetime(2024, 5, 2, tzinfo=UTC)}, Kind.ORDER, "timestamp", "2024-05-02T00:00:00+00:00"),
    ],
)
def test_a_wrong_interaction_is_named_by_file_column_row_and_value(
    tmp_path: Path, bad: Row, kind: Kind, column: str, value: str
) -> None:
    rows = [good, interaction(moment("10:00")) | bad, interaction(moment("11:00"))]
    path = write_dataset(tmp_path / "d", parts=[(DAY, rows)])
    assert place(only_problem(path), path) == (kind, LOG, column, 2, value)


def test_every_item_is_unknown_where_items_are_empty(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[(DAY, [good])], items=[])
    assert place(only_problem(path), path) == (Kind.UNKNOWN_ITEM, LOG, "item_id", 1, "10")
    assert Dataset.open(path).items().num_rows == 0


def test_a_null_timestamp_is_a_problem(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[(DAY, [good | {"timestamp": None}])])
    assert place(only_problem(path), path) == (Kind.NULL, LOG, "timestamp", 1, "null")


def test_the_future_and_the_time_before_1970_are_problems(tmp_path: Path) -> None:
    future = datetime.now(UTC) + timedelta(days=2)
    old = datetime(1969, 12, 31, tzinfo=UTC)
    days = [(f"date={at.date().isoformat()}", [interaction(at)]) for at in (old, future)]
    report = check_dataset(write_dataset(tmp_path / "d", parts=days)).report
    assert [problem.kind for problem in report.problems] == [Kind.TIMESTAMP, Kind.FUTURE]


def test_the_log_may_not_go_back_from_file_to_file_of_a_date(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[(DAY, [interaction(moment("10:00"))])])
    put(path / "interactions" / DAY / "part-1.parquet", [good], schema_of(SPEC, "interactions"))
    assert place(only_problem(path), path)[:4] == (Kind.ORDER, f"interactions/{DAY}/part-1.parquet", "timestamp", 1)
    with pytest.raises(DataError, match=r"part-1.parquet.*time order"):
        list(Dataset.open(path).batches())


@pytest.mark.parametrize(
    ("table", "bad", "kind", "column"),
    [
        ("items", {"item_id": 10}, Kind.DUPLICATE, "item_id"),
        ("items", {"item_id": None}, Kind.NULL, "item_id"),
        ("items", {"picture": [1.0]}, Kind.LENGTH, "picture"),
        ("items", {"picture": [1.0, 2.0, 3.0]}, Kind.LENGTH, "picture"),
        ("items", {"picture": [1.0, nan]}, Kind.NOT_FINITE, "picture"),
        ("items", {"picture": [1.0, None]}, Kind.NOT_FINITE, "picture"),
        ("items", {"genres": ["a", None]}, Kind.NULL, "genres"),
        ("users", {"user_id": 1}, Kind.DUPLICATE, "user_id"),
        ("users", {"age": nan}, Kind.NOT_FINITE, "age"),
        ("users", {"age": -inf}, Kind.NOT_FINITE, "age"),
    ],
)
def test_a_wrong_user_or_item_is_named_by_file_column_row_and_value(
    tmp_path: Path, table: str, bad: Row, kind: Kind, column: str
) -> None:
    rows = {"users": [*USERS, USERS[1] | {"user_id": 3} | bad], "items": [*ITEMS, ITEMS[1] | {"item_id": 12} | bad]}
    path = write_dataset(tmp_path / "d", **{table: rows[table]})
    problem = only_problem(path)
    assert place(problem, path)[:4] == (kind, f"{table}/part-0.parquet", column, 3)
    if kind is Kind.DUPLICATE:
        assert "already in row 1 of" in problem.message


def test_zones_that_do_not_exist_are_named(tmp_path: Path) -> None:
    hour = TimeOf(name="hour", part="hour", zone_feature="home")
    spec = FeatureSpec(features=(Categorical(name="home", tower="user"), hour))
    rows = [{"user_id": number, "home": home} for number, home in enumerate(["Asia/Tokyo", None, "Asia/Tokio"])]
    path = write_dataset(tmp_path / "d", spec=spec, users=rows, items=[{"item_id": 10}, {"item_id": 11}])
    problem = only_problem(path)
    assert place(problem, path) == (Kind.UNKNOWN_ZONE, "users/part-0.parquet", "home", 3, "'Asia/Tokio'")


@pytest.mark.parametrize(
    "features",
    [
        (TimeOf(name="hour", part="hour", zone="Asia/Tokio"),),
        (
            Categorical(name="hour", tower="user", default="Asia/Tokio"),
            TimeOf(name="local", part="hour", zone_feature="hour"),
        ),
    ],
)
def test_a_declared_zone_that_does_not_exist_is_named(tmp_path: Path, features: tuple[Feature, ...]) -> None:
    path = write_dataset(tmp_path / "d", spec=FeatureSpec(features=features))
    assert "feature 'hour': zone 'Asia/Tokio' is unknown" in only_problem(path).message


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_empty_string_ids_are_problems(tmp_path: Path, column: str) -> None:
    row = {"user_id": "u", "item_id": "i", "event": "click", "timestamp": moment("10:00")}
    path = write_dataset(
        tmp_path / "d", spec=STRINGS, parts=[(DAY, [row, row | {column: ""}])],
        users=[{"user_id": "u"}], items=[{"item_id": "i"}],
    )  # fmt: skip
    kinds = {problem.kind for problem in check_dataset(path).report.problems if problem.column == column}
    assert Kind.EMPTY_ID in kinds


def test_two_strings_with_one_hash_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagoda.data.ids.xxhash, "xxh3_64_intdigest", len)
    rows = [
        {"user_id": user, "item_id": "i", "event": "click", "timestamp": moment("10:00")}
        for user in ("ann", "al", "bob")
    ]
    path = write_dataset(
        tmp_path / "d", spec=STRINGS, parts=[(DAY, rows)], users=[{"user_id": "ann"}], items=[{"item_id": "i"}]
    )
    problem = only_problem(path)
    assert place(problem, path) == (Kind.COLLISION, LOG, "user_id", 3, "'bob'")
    assert "'ann' in row 1 of" in problem.message


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def retyped(column: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(
        table.schema.get_field_index(column), column, table[column].cast(kind, safe=False)
    )


@pytest.mark.parametrize(
    ("file", "change", "kind", "column"),
    [
        (LOG, lambda table: table.drop_columns("event"), Kind.MISSING_COLUMN, "event"),
        ("items/part-0.parquet", lambda table: table.drop_columns("genres"), Kind.MISSING_COLUMN, "genres"),
        (LOG, lambda table: table.append_column("price", pa.array([1, 2])), Kind.EXTRA_COLUMN, "price"),
        (LOG, retyped("user_id", pa.int32()), Kind.DTYPE, "user_id"),
        (LOG, retyped("user_id", pa.string()), Kind.DTYPE, "user_id"),
        (LOG, retyped("timestamp", pa.int64()), Kind.DTYPE, "timestamp"),
        (LOG, retyped("timestamp", pa.timestamp("us")), Kind.NO_ZONE, "timestamp"),
        ("users/part-0.parquet", retyped("age", pa.string()), Kind.DTYPE, "age"),
        ("items/part-0.parquet", retyped("genres", pa.list_(pa.float64())), Kind.DTYPE, "genres"),
    ],
)
def test_wrong_columns_are_refused_by_check_and_by_open(
    tmp_path: Path, file: str, change: Any, kind: Kind, column: str
) -> None:
    path = write_dataset(tmp_path / "d", items=[row | {"genres": None} for row in ITEMS])
    rewrite(path / file, change)
    problem = check_dataset(path).report.problems[0]
    assert place(problem, path)[:3] == (kind, file, column)
    with pytest.raises(DataError, match=rf"{file}, column '{column}'"):
        Dataset.open(path)


def test_equal_types_of_other_writers_are_read(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    rewrite(path / LOG, retyped("event", pa.dictionary(pa.int32(), pa.large_string())))
    rewrite(path / "users/part-0.parquet", retyped("age", pa.int16()))
    assert check_dataset(path).report.ok
    assert [row["event"] for row in pa.Table.from_batches(Dataset.open(path).batches()).to_pylist()] == [
        "click",
        "like",
    ]


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_file_is_refused_by_check_and_by_open(tmp_path: Path, keep: int) -> None:
    path = write_dataset(tmp_path / "d")
    (path / LOG).write_bytes((path / LOG).read_bytes()[:keep])
    problems = check_dataset(path).report.problems
    assert (problems[0].kind, problems[0].file) == (Kind.CORRUPT, str(path / LOG))
    with pytest.raises(DataError, match=rf"{LOG}.*(corrupt|truncated)"):
        Dataset.open(path)


def test_a_damaged_page_is_noticed_and_not_decoded(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    schema = schema_of(SPEC, "interactions")
    with open_writer(path / LOG, schema) as writer:
        writer.write_table(pa.Table.from_pylist([good | {"user_id": n * n} for n in range(1000)], schema))
    content = bytearray((path / LOG).read_bytes())
    users = pq.read_metadata(path / LOG).row_group(0).column(0)
    content[users.data_page_offset + users.total_compressed_size // 2] ^= 0xFF
    (path / LOG).write_bytes(content)
    assert only_problem(path).kind is Kind.CORRUPT
    with pytest.raises(DataError, match=rf"{LOG}.*corrupt"):
        list(Dataset.open(path).batches())


def test_missing_and_misnamed_parts_are_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[("date=2024-5-1", [good])])
    (path / "users" / "part-0.parquet").unlink()
    (path / "users").rmdir()
    (path / "items" / "part-0.parquet").unlink()
    found = {(problem.kind, Path(problem.file).name) for problem in check_dataset(path).report.problems}
    assert found == {
        (Kind.PARTITION, "date=2024-5-1"),
        (Kind.EMPTY, "interactions"),
        (Kind.UNREADABLE, "users"),
        (Kind.EMPTY, "items"),
    }


def test_a_log_without_rows_is_empty(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[(DAY, [])])
    assert only_problem(path).kind is Kind.EMPTY
    with pytest.raises(DataError, match="no interaction"):
        Dataset.open(path)


def test_a_wrong_feature_file_is_a_problem(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d")
    (path / "features.yaml").write_text("features: [{kind: numeric, name: age, tower: user, edges: [3, 1]}]")
    assert only_problem(path).kind is Kind.SPEC
    with pytest.raises(ConfigError, match="strictly increasing"):
        Dataset.open(path)


def test_no_folder_is_a_problem_and_is_not_made(tmp_path: Path) -> None:
    assert only_problem(tmp_path / "nowhere").kind is Kind.UNREADABLE
    with pytest.raises(DataError, match="No such"):
        Dataset.open(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def as_nobody(tmp_path: Path) -> Any:
    """Root may read everything, so these tests run as another user where they can."""
    if os.geteuid():
        yield
        return
    for folder in [tmp_path, *tmp_path.parents][:-2]:
        folder.chmod(folder.stat().st_mode | 0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.mark.parametrize("folder", [".", "interactions", f"interactions/{DAY}", "items"])
def test_an_unreadable_folder_is_named(tmp_path: Path, folder: str, request: pytest.FixtureRequest) -> None:
    path = write_dataset(tmp_path / "d")
    (path / folder).chmod(0)
    request.getfixturevalue("as_nobody")
    try:
        problem = check_dataset(path).report.problems[0]
        with pytest.raises(DataError, match="Permission denied"):
            Dataset.open(path)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        (path / folder).chmod(0o755)
    assert (problem.kind, Path(problem.file)) == (Kind.UNREADABLE, path / folder)


def test_all_problems_are_counted_and_the_first_of_each_kind_named(tmp_path: Path) -> None:
    rows = [interaction(moment("10:00"), item=99, event="klick" if n == 70 else "click") for n in range(100)]
    report = check_dataset(write_dataset(tmp_path / "d", parts=[(DAY, rows)])).report
    assert report.counts == {Kind.UNKNOWN_ITEM: 100, Kind.UNKNOWN_EVENT: 1}
    unknown = [problem.row for problem in report.problems if problem.kind is Kind.UNKNOWN_ITEM]
    assert unknown == list(range(1, 21))


def test_the_command_says_it_as_text_and_as_json(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "d", parts=[(DAY, [good | {"item_id": 99}])])
    text = CliRunner().invoke(app, ["data", "check", str(path)])
    assert text.exit_code == 1
    assert f"{path / LOG}, column 'item_id', row 1: value 99: no such item" in text.output
    result = CliRunner().invoke(app, ["data", "check", str(path), "--output", "json"])
    assert result.exit_code == 1
    said = json.loads(result.output)
    assert (said["ok"], said["counts"]) == (False, {"unknown-item": 1})
    (path / LOG).unlink()
    put(path / LOG, [good], schema_of(SPEC, "interactions"))
    assert CliRunner().invoke(app, ["data", "check", str(path)]).exit_code == 0
