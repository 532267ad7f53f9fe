"""Which rows an import takes: without options all or nothing, with them the good ones, the others counted and filed."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset

DAY = "2024-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(log: str, *options: str, verb: str = "csv", **files: str) -> Result:
    """Import `log` into `out`; `items`, `users` and `features` are other files' content."""
    shutil.rmtree("out", ignore_errors=True)
    Path("log.csv").write_text(log)
    given = ["data", "import", verb, "out", "--interactions", "log.csv", *options]
    for name, content in files.items():
        Path(f"{name}.txt").write_text(content)
        given += [f"--{name}", f"{name}.txt"]
    return CliRunner().invoke(app, given)


def taken(log: str, *options: str, **files: str) -> list[tuple[Any, ...]]:
    """User, item, event and moment of the interactions that were imported, as they are written."""
    result = run(log, *options, **files)
    assert result.exit_code == 0, f"{result.output}{result.exception}"
    assert check_dataset(Path("out")).report.ok
    return rows_of(Path("out"))


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    dataset = Dataset.open(path)
    kind = "key" if dataset.spec.id_type == "string" else "id"
    columns = [f"user_{kind}", f"item_{kind}", "event", "timestamp"]
    return [tuple(row.values()) for batch in dataset.batches(columns=columns) for row in batch.to_pylist()]


def filed() -> list[tuple[str, ...]]:
    with Path("out.refused.csv").open(newline="") as file:
        return [tuple(row.values())[1:] for row in csv.DictReader(file)]


GUESTS = (
    "user,item,quantity,when\n17850,85123A,6,2010-12-01T08:26:00\n,85123A,1,2010-12-01T09:00:00\n"
    "17850,unknown-item,2,2010-12-01T09:30:00\nC17851,85123A,-1,2010-12-02T10:00:00\n"
)
GUESTS_ITEMS = "item,title,price\n85123A,white holder,2.55\n"
GUESTS_OPTIONS = (
    "--user-column", "user", "--item-column", "item", "--timestamp-column", "when", "--zone", "UTC",
    "--title-column", "title",
)  # fmt: skip


def test_guests_unknown_items_and_returns_are_left_out_counted_and_filed() -> None:
    result = run(GUESTS, *GUESTS_OPTIONS, "--skip", "null-ids,unknown-items,returns", items=GUESTS_ITEMS)
    assert result.exit_code == 0, result.output
    assert rows_of(Path("out")) == [("17850", "85123A", "click", datetime(2010, 12, 1, 8, 26, tzinfo=UTC))]
    assert sorted(filed(), key=lambda row: row[1]) == [
        ("log.csv", "2", "null-ids", "user", ""),
        ("log.csv", "3", "unknown-items", "item", "unknown-item"),
        ("log.csv", "4", "returns", "quantity", "-1"),
    ]
    assert "3 of 5 rows were left out" in result.output
    assert re.search(r"null-ids +1 +20.00%", result.output)


@pytest.mark.parametrize(
    ("skip", "advice"),
    [
        ("returns", "row 2: value null: .* --skip null-ids leaves"),
        (
            "returns,null-ids",
            "row 3: .*--skip unknown-items leaves such rows out, --unknown-items make makes the items",
        ),
        ("null-ids,unknown-items", "row 4: value '-1': .* --skip returns leaves"),
    ],
)
def test_the_first_bad_row_stops_an_import_and_names_the_option(skip: str, advice: str) -> None:
    options = (*GUESTS_OPTIONS, "--quantity-column", "quantity", "--skip", skip)
    result = run(GUESTS, *options, items=GUESTS_ITEMS)
    assert re.search(advice, str(result.exception))
    assert sorted(path.name for path in Path().iterdir()) == ["items.txt", "log.csv"]


def test_unknown_items_are_made_without_features() -> None:
    rows = taken(GUESTS, *GUESTS_OPTIONS, "--skip", "null-ids", "--unknown-items", "make", items=GUESTS_ITEMS)
    assert len(rows) == 3
    assert sorted(item["title"] or "" for item in Dataset.open(Path("out")).items().to_pylist()) == ["", "white holder"]


BAD = [
    ("bad-values", "x,1,{day}"),
    ("bad-values", "1_0,1,{day}"),
    ("bad-values", "\u0661\u0660,1,{day}"),
    ("bad-values", "17.0,1,{day}"),
    ("bad-values", "9223372036854775808,1,{day}"),
    ("bad-timestamps", "1,1,yesterday"),
    ("bad-timestamps", "1,1,2024-02-30T00:00:00Z"),
    ("bad-timestamps", "1,1,2024-01-01"),
    ("bad-timestamps", "1,1,2999-01-01T00:00Z"),
    ("bad-timestamps", "1,1,"),
    ("null-ids", ",1,{day}"),
]


@settings(max_examples=10)
@given(st.lists(st.sampled_from([("", "2,{n},{day}"), *BAD]), max_size=60))
def test_each_bad_row_is_found_among_the_others(rows: list[tuple[str, str]]) -> None:
    rows = [("", "2,{n},{day}"), *rows]
    lines = "".join(f"{row.format(n=n, day=DAY)}\n" for n, (_, row) in enumerate(rows))
    good = taken(f"user_id,item_id,timestamp\n{lines}", "--skip", "all", "--id-type", "int64")
    assert len(good) == sum(not reason for reason, _ in rows)
    expected = {(str(number), reason) for number, (reason, _) in enumerate(rows, 1) if reason}
    assert {(row, reason) for _, row, reason, *_ in (filed() if expected else [])} == expected


@pytest.mark.parametrize(("limit", "passes"), [("2", True), ("1", False), ("50%", True), ("49%", False)])
def test_more_refused_rows_than_the_limit_allows_end_the_import(limit: str, passes: bool) -> None:
    log = f"user_id,item_id,timestamp\n1,1,{DAY}\n,1,{DAY}\n1,1,{DAY}\n1,,{DAY}\n"
    result = run(log, "--skip", "null-ids", "--skip-limit", limit)
    assert (result.exit_code == 0) == passes
    if not passes:
        assert re.search(
            f"2 of 4 rows were refused, more than --skip-limit {limit} allows: 2 null-ids", str(result.exception)
        )
        assert [path.name for path in Path().iterdir()] == ["log.csv"]


def test_when_no_row_is_left_the_reasons_are_named() -> None:
    result = run("user_id,item_id,timestamp\n1,1,2024-01-01\n", "--skip", "all")
    assert re.search("no interaction is left of 1 rows; 1 bad-timestamps .*2024-01-01", str(result.exception))


def test_rows_that_are_none_are_left_out() -> None:
    rows = taken(f"user_id,item_id,timestamp\n1,2,{DAY}\n1,2\n3,4,{DAY}\n", "--skip", "unreadable")
    assert [row[:2] for row in rows] == [(1, 2), (3, 4)]
    assert filed()[0][:3] == ("log.csv", "2", "unreadable")


@pytest.mark.parametrize(
    ("verb", "log"),
    [
        ("csv", f"user_id,item_id,timestamp\n1,2\n7,2,{DAY}\n1,2,3,4\nann,4,{DAY}\n"),
        ("jsonl", "".join(f"{line}\n" for line in ("nothing", *(
            f'{{"user_id": "{user}", "item_id": "2", "timestamp": "{DAY}"}}' for user in ("7", "ann")
        ), "[]"))),
    ],
)  # fmt: skip
def test_rows_that_are_none_may_come_before_all_others(verb: str, log: str) -> None:
    result = run(log, "--skip", "unreadable", verb=verb)
    assert result.exit_code == 0, result.exception
    assert sorted(row[0] for row in rows_of(Path("out"))) == ["7", "ann"]
    assert [row[2] for row in filed()] == ["unreadable", "unreadable"]
    assert "--skip unreadable leaves such rows out" in str(run(log, verb=verb).exception)


def test_events_are_mapped_and_those_that_become_none_are_left_out() -> None:
    log = f"user_id,item_id,event,timestamp\n1,1,buy,{DAY}\n1,2,pv,{DAY}\n1,3,order,{DAY}\n1,4,like,{DAY}\n"
    options = [word for pair in ("buy=purchase", "order=purchase", "pv=") for word in ("--map-event", pair)]
    assert [row[1:3] for row in taken(log, *options)] == [(1, "purchase"), (3, "purchase"), (4, "like")]
    assert "'bought' is none of" in str(run(log, "--map-event", "buy=bought").exception)


def test_a_good_rating_is_also_a_like() -> None:
    log = "user_id::item_id::stars::timestamp\n1::1::5::978300760\n1::2::3,5::978302109\n"
    options = ("--delimiter", "::", "--timestamps", "seconds", "--decimal", ",")
    rows = taken(log, *options, "--rating-column", "stars", "--like-from", "4")
    assert [row[1:3] for row in rows] == [(1, "click"), (1, "like"), (2, "click")]
    assert Dataset.open(Path("out")).spec.positives == ("like",)


@pytest.mark.parametrize(
    ("form", "zone", "written", "expected"),
    [
        ("%d-%m-%Y", "UTC", "21-07-2015", "2015-07-21T00:00:00Z"),
        ("%d/%m/%Y %H:%M", "Europe/Berlin", "21/07/2015 10:30", "2015-07-21T08:30:00Z"),
        ("%m/%d/%y %I:%M:%S %p", "UTC", "07/21/15 10:30:05 PM", "2015-07-21T22:30:05Z"),
        ("%a %b %d %H:%M:%S %z %Y", "UTC", "Tue Jul 21 15:30:05 -0700 2015", "2015-07-21T22:30:05Z"),
        ("%a %b %d %H:%M:%S %z %Y", "UTC", "Tue Feb 30 15:30:05 -0700 2015", None),
        ("%d-%m-%Y", "UTC", "2015-07-21", None),
        ("%d-%m-%Y", "UTC", "30-02-2015", None),
        ("%d-%m-%Y", "UTC", "21-07-2015 10:00", None),
    ],
)
def test_moments_are_read_in_the_given_format(form: str, zone: str, written: str, expected: str | None) -> None:
    options = ("--timestamp-format", form, "--zone", zone)
    log = f"user_id,item_id,timestamp\n1,1,{written}\n"
    if expected is None:
        assert "not a moment as --timestamp-format" in str(run(log, *options).exception)
    else:
        assert taken(log, *options)[0][3] == datetime.fromisoformat(expected)


def test_a_date_and_a_time_of_day_may_stand_in_two_columns() -> None:
    log = "user_id,item_id,timestamp,clock\n1,1,21.07.2015,10:30\n1,2,21.07.2015,\n1,3,21.07.2015,25:00\n"
    options = ("--time-column", "clock", "--timestamp-format", "%d.%m.%Y %H:%M", "--zone", "UTC")
    rows = taken(log, *options, "--skip", "bad-timestamps")
    assert [row[3] for row in rows] == [datetime(2015, 7, 21, 10, 30, tzinfo=UTC)]
    assert ("log.csv", "3", "bad-timestamps", "timestamp", "21.07.2015 25:00") in filed()


def test_a_format_without_a_zone_needs_one() -> None:
    result = run(f"user_id,item_id,timestamp\n1,1,{DAY}\n", "--timestamp-format", "%d-%m-%Y")
    assert "say which by --zone" in str(result.exception)


FEATURES = """id_type: string
title: title
features:
  - {kind: numeric, name: price, tower: item, edges: [3]}
"""


def test_items_are_made_of_the_logs_columns_and_the_last_value_counts() -> None:
    log = (
        "user_id;item_id;timestamp;Description;Price;Invoice\n"
        "ann;mug;2024-01-03T00:00:00Z;Big mug;2,50;1\n"
        "bob;mug;2024-01-01T00:00:00Z;Mug;2,00;2\n"
        "bob;cup;2024-01-02T00:00:00Z;;9,99;3\n"
        "bob;cup;2024-01-01T00:00:00Z;Cup;;3\n"
    )
    options = ("--delimiter", ";", "--decimal", ",", "--items-from-log", "title=Description,price=Price")
    assert "--drop-others" in str(run(log, *options, features=FEATURES).exception)
    result = run(log, *options, "--drop-others", features=FEATURES)
    assert result.exit_code == 0, result.output
    items = {item["item_key"]: (item["title"], item["price"]) for item in Dataset.open(Path("out")).items().to_pylist()}
    assert items == {"mug": ("Big mug", 2.5), "cup": ("Cup", 9.99)}
    assert "1 items have several values of title" in result.output


def test_the_last_value_of_an_item_is_that_by_the_order_column() -> None:
    log = "user_id,item_id,n,name\n7,1,30,Newest\n8,1,4,Old\n7,1,5,Older\n"
    rows = ("--order-column", "n", "--items-from-log", "title=name")
    taken(log, *rows)
    assert [item["title"] for item in Dataset.open(Path("out")).items().to_pylist()] == ["Newest"]


def test_items_of_a_log_are_the_same_however_little_memory_there_is(tmp_path: Path) -> None:
    from pagoda.data.imports.importer import Import, import_files
    from pagoda.data.imports.readers import CsvReader
    from pagoda.data.imports.rows.rules import RowRules

    lines = [f"{n % 7},{n % 11},2024-01-{1 + n % 28:02d}T00:00:{n % 60:02d}Z,name {n}" for n in range(400)]
    Path("log.csv").write_text("user_id,item_id,timestamp,name\n" + "\n".join(lines) + "\n")
    rules = RowRules(items_from_log={"title": "name"})
    found = []
    for budget in (500, 1 << 20):
        path = tmp_path / f"out-{budget}"
        conflicts = import_files(path, Import(CsvReader(), Path("log.csv"), rules=rules, budget_bytes=budget)).conflicts
        found.append((Dataset.open(path).items().to_pylist(), conflicts))
    assert found[0] == found[1]
    assert found[0][1] == {"title": 11}


@pytest.mark.parametrize(("column", "options"), [("place", ("--order-column", "place")), ("nothing", ("--in-order",))])
def test_without_timestamps_moments_are_made_up_of_an_order(column: str, options: tuple[str, ...]) -> None:
    log = f"user_id,item_id,{column}\n7,1,1\n8,5,1\n7,2,2\n7,3,3\n"
    rows = sorted(taken(log, *options), key=lambda row: (row[0], row[3]))
    assert [row[:2] for row in rows] == [(7, 1), (7, 2), (7, 3), (8, 5)]
    assert [row[3].hour for row in rows] == [22, 23, 0, 22]
    assert rows[2][3] == datetime(2001, 1, 1, tzinfo=UTC)


def test_the_order_column_is_the_order_whatever_that_of_the_rows() -> None:
    rows = taken("user_id,item_id,n\n7,1,30\n7,2,4\n7,3,5\n", "--order-column", "n")
    assert [row[1] for row in rows] == [2, 3, 1]


def test_equal_interactions_are_kept_unless_they_are_to_be_left_out() -> None:
    log = f"user_id,item_id,timestamp\n1,1,{DAY}\n2,1,{DAY}\n1,1,{DAY}\n1,1,2024-01-02T00:00:00Z\n"
    assert len(taken(log)) == 4
    assert len(taken(log, "--skip", "duplicates")) == 3
    assert filed() == [("log.csv", "3", "duplicates", "", "")]


def test_of_an_item_with_two_rows_the_first_counts() -> None:
    items = "item_id,title\n1,First\n1,Second\n2,Other\n"
    taken(f"user_id,item_id,timestamp\n1,1,{DAY}\n", "--title-column", "title", "--skip", "duplicates", items=items)
    assert [item["title"] for item in Dataset.open(Path("out")).items().to_pylist()] == ["First", "Other"]
    assert filed() == [("items.txt", "2", "duplicates", "item_id", "1")]


def core(pairs: list[tuple[int, int]], user: int, item: int) -> list[tuple[int, int]]:
    """As one would do it by hand."""
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        left = [(u, i) for u, i in pairs if users[u] >= user and items[i] >= item]
        if len(left) == len(pairs):
            return left
        pairs = left


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60),
    st.integers(0, 4), st.integers(0, 4), st.integers(1, 3000),
)  # fmt: skip
def test_users_and_items_with_too_few_go_until_no_more_has_to(
    pairs: list[tuple[int, int]], user: int, item: int, budget: int
) -> None:
    from pagoda.data.imports.rows.rare import RareRows

    Path("spill").mkdir(exist_ok=True)
    rare = RareRows(user, item, Path("spill"), budget)
    users, items = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    for start in range(0, len(pairs), 7):
        rare.add(users[start : start + 7], items[start : start + 7], np.arange(start, min(start + 7, len(pairs))))
    out = np.zeros(len(pairs), bool)
    gone = rare.mark(out)
    assert [pair for pair, left_out in zip(pairs, out, strict=True) if not left_out] == core(pairs, user, item)
    assert gone == out.sum()


def test_the_tables_follow_from_the_interactions_that_are_left() -> None:
    lines = [f"{user},{item},{DAY}" for user, item in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (4, 9)]]
    taken("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n", "--min-user", "2", "--min-item", "2")
    dataset = Dataset.open(Path("out"))
    assert dataset.users()["user_id"].to_pylist() == [1, 2]
    assert dataset.items()["item_id"].to_pylist() == [1, 2]


def test_floats_that_stand_for_several_ids_are_none() -> None:
    floats = np.array([1750000000000000001, 1750000000000000002], dtype="float64")
    columns = {"user_id": floats, "item_id": [1, 1], "timestamp": [0, 1]}
    for id_type in ("int64", "string"):
        pq.write_table(pa.table(columns), "log.parquet")
        options = ["data", "import", "parquet", "out", "--interactions", "log.parquet", "--timestamps", "seconds"]
        result = CliRunner().invoke(app, [*options, "--id-type", id_type])
        assert re.search(r"'user_id', row 1: .* floats above 2\^53 .* are no IDs", str(result.exception))


def test_whole_floats_below_are_ids_and_a_missing_one_is_null() -> None:
    columns = {"user_id": [17850.0, float("nan")], "item_id": ["a", "b"], "timestamp": [0, 1]}
    pq.write_table(pa.table(columns), "log.parquet")
    options = ["data", "import", "parquet", "out", "--interactions", "log.parquet", "--timestamps", "seconds"]
    assert "--skip null-ids" in str(CliRunner().invoke(app, options).exception)
    assert CliRunner().invoke(app, [*options, "--skip", "null-ids"]).exit_code == 0
    assert [row[:2] for row in rows_of(Path("out"))] == [("17850", "a")]


def test_a_word_for_a_missing_id_is_warned_of_or_read_as_null() -> None:
    log = f"user_id,item_id,timestamp\nann,a,{DAY}\nNA,a,{DAY}\n"
    result = run(log)
    assert "'user_id' has 'NA' as an ID" in result.output
    assert len(rows_of(Path("out"))) == 2
    assert [row[0] for row in taken(log, "--null-value", "NA", "--skip", "null-ids")] == ["ann"]
    result = run(log.replace("ann", "1"), "--id-type", "int64")
    assert "say --null-value NA" in str(result.exception)


def test_ids_that_were_floats_once_are_warned_of() -> None:
    result = run(f"user_id,item_id,timestamp\n17850.0,a,{DAY}\n17851.0,b,{DAY}\n")
    assert "look like '17850.0'" in result.output
    result = run(f"user_id,item_id,timestamp\n17850.0,1,{DAY}\n", "--id-type", "int64")
    assert "pandas" in str(result.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--skip", "nulls"), "must be among null-ids"),
        (("--skip-limit", "2.5"), "such as 100 or 1%"),
        (("--in-order", "--order-column", "n"), "contradict"),
        (("--unknown-items", "make"), "needs --items"),
        (("--items-from-log", "price=p"), "'price' must be both declared and given a column"),
        (("--skip", "returns"), "needs --quantity-column"),
        (("--map-event", "a=click"), "no column of events"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: tuple[str, ...], message: str) -> None:
    result = run(f"user_id,item_id,timestamp,p\n1,1,{DAY},2\n", *options)
    assert re.search(message, f"{result.exception}")
    assert not Path("out").exists()


def test_the_help_fits_80_columns() -> None:
    result = CliRunner().invoke(app, ["data", "import", "csv", "--help"], env={"COLUMNS": "80"})
    assert max(map(len, result.output.splitlines())) <= 80
    assert "Rows that are left out" in result.output
