"""`pagoda data import auto` proposes a command that imports raw files as they are, and writes nothing unasked."""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.imports.auto.moments import how_written
from pagoda.data.imports.auto.samples import read_sample
from tests.data.imports import walks

GIVEN = walks.events()
LIKED = sum(rating >= 4 for _, _, rating, _ in GIVEN)
BOUGHT = sum(n % 7 != 0 and n % 50 != 0 for n in range(len(GIVEN)))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", "import", *arguments])


def proposed(*files: str) -> list[str]:
    """The arguments of the proposed command, its feature file written."""
    result = run("auto", "--write", *files)
    assert result.exit_code == 0, result.output
    words = shlex.split(result.stdout.replace("\\\n", " "))
    assert words[:3] == ["pagoda", "data", "import"]
    return words[3:]


def imported(*files: str) -> Dataset:
    """The dataset that the proposed command makes."""
    arguments = proposed(*files)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert check_dataset(Path(arguments[1])).report.ok
    return Dataset.open(Path(arguments[1]))


def counted(dataset: Dataset) -> dict[str, int]:
    return dict(Counter(event for batch in dataset.batches(columns=["event"]) for event in batch["event"].to_pylist()))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_log_without_a_header_is_read_by_what_is_in_it() -> None:
    walks.taobao(Path("taobao.csv"), GIVEN)
    dataset = imported("taobao.csv")
    kinds = len(GIVEN) // 5
    assert counted(dataset) == {"click": 2 * kinds, "like": kinds, "cart": kinds, "purchase": kinds}
    assert dataset.spec.positives == ("click", "like", "cart", "purchase")
    first = dataset.items().to_pylist()[0]
    assert (first["item_id"], first["column_3"]) == (5_000_000, "9000")
    assert {user - 1_000_000 for user in dataset.users()["user_id"].to_pylist()} == set(range(60))


def test_ratings_become_clicks_and_likes() -> None:
    walks.ratings(Path("ratings.dat"), GIVEN)
    dataset = imported("ratings.dat")
    assert counted(dataset) == {"click": len(GIVEN), "like": LIKED}
    assert dataset.spec.positives == ("like",)


def test_an_order_log_loses_its_guests_and_returns_and_gives_its_items() -> None:
    walks.guests(Path("guests.csv"), GIVEN)
    dataset = imported("guests.csv")
    assert counted(dataset) == {"purchase": BOUGHT}
    item = dataset.items().filter(pa.compute.equal(dataset.items()["item_key"], "S00007")).to_pylist()[0]
    assert (item["title"], item["price"]) == ("café mug 7", 8.99)
    with Path(".pagoda/dataset.refused.csv").open(newline="") as file:
        reasons = Counter(row["reason"] for row in csv.DictReader(file))
    assert reasons.total() == len(GIVEN) - BOUGHT
    assert set(reasons) == {"null-ids", "returns"}


def test_reviews_in_json_lines_are_read() -> None:
    walks.reviews(Path("reviews.jsonl"), GIVEN)
    dataset = imported("reviews.jsonl")
    assert counted(dataset) == {"click": len(GIVEN), "like": LIKED}
    assert "item 7" in dataset.items()["title"].to_pylist()


def test_parquet_in_milliseconds_is_read() -> None:
    columns = {"visitorid": [u for u, *_ in GIVEN], "itemid": [i for _, i, *_ in GIVEN]}
    pq.write_table(pa.table({**columns, "timestamp": [1000 * t for *_, t in GIVEN]}), "log.parquet")
    dataset = imported("log.parquet")
    assert counted(dataset) == {"click": len(GIVEN)}
    assert dataset.span().start.year == 2023


def test_several_files_are_told_apart() -> None:
    walks.ratings(Path("ratings.dat"), GIVEN)
    Path("movies.dat").write_text(
        "".join(f"{i + 1}::Café {i} ({1990 + i})::{('Drama|War', 'War')[i % 2]}\n" for i in range(40)), "latin-1"
    )
    Path("users.dat").write_text("".join(f"{u + 1}::{'MF'[u % 2]}::{u % 3}\n" for u in range(60)))
    dataset = imported("movies.dat", "ratings.dat", "users.dat")
    assert counted(dataset) == {"click": len(GIVEN), "like": LIKED}
    assert dataset.items().to_pylist()[0] == {"item_id": 1, "title": "Café 0 (1990)", "item_3": ["Drama", "War"]}
    assert dataset.users().to_pylist()[1] == {"user_id": 2, "user_2": "F", "user_3": "1"}


def test_without_a_terminal_nothing_is_written_and_the_command_can_be_piped() -> None:
    walks.guests(Path("guests.csv"), GIVEN)
    result = run("auto", "guests.csv", "--to", "shop")
    assert result.exit_code == 0, result.output
    assert [path.name for path in Path().iterdir()] == ["guests.csv"]
    lines = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert lines[0] == "pagoda data import csv shop \\"
    assert "as they are understood" in result.stderr
    assert "2023-11-15" in result.stderr


def test_a_feature_file_that_somebody_changed_is_kept() -> None:
    walks.ratings(Path("ratings.dat"), GIVEN)
    Path("ratings.features.yaml").write_text("positives: [click]\n")
    result = run("auto", "--write", "ratings.dat")
    assert result.exit_code == 1
    assert "not overwritten" in str(result.exception)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (["2024-01-31T10:00:00Z"], ()),
        (["2024-01-31 10:00:00"], ("--zone", "UTC")),
        (["31/01/2024 10:00", "01/02/2024 11:00"], ("--timestamp-format", "%d/%m/%Y %H:%M", "--zone", "UTC")),
        (["01/31/2024"], ("--timestamp-format", "%m/%d/%Y", "--zone", "UTC")),
        (["20240131"], ("--timestamp-format", "%Y%m%d", "--zone", "UTC")),
        (["09 13, 2009"], ("--timestamp-format", "%m %d, %Y", "--zone", "UTC")),
        (["2024-01-31 9:05"], ("--timestamp-format", "%Y-%m-%d %H:%M", "--zone", "UTC")),
        (["2024-01-31 10:00:00 UTC"], ("--timestamp-format", "%Y-%m-%d %H:%M:%S UTC", "--zone", "UTC")),
        (["Wed Jan 31 23:00:00 -0800 2024"], ("--timestamp-format", "%a %b %d %H:%M:%S %z %Y")),
        (["31/Jan/2024:10:00:00 +0000"], ("--timestamp-format", "%d/%b/%Y:%H:%M:%S %z")),
        (["1706695200"], ("--timestamps", "seconds")),
        ([1706695200000], ("--timestamps", "milliseconds")),
        ([5_000_161, 7], None),
        (["mug"], None),
    ],
)
def test_how_moments_are_written_is_seen(values: list[Any], options: tuple[str, ...] | None) -> None:
    written = how_written(pa.array(values))
    assert (None if written is None else written.options) == options


def test_quotes_that_are_characters_are_seen() -> None:
    lines = [
        f"u{n % 9}\t{1_700_000_000 + n}\ti{n % 7}\t{('Song', chr(34) + 'Heroes' + chr(34) + ' (live)')[n % 2]}\n"
        for n in range(30)
    ]
    Path("plays.tsv").write_text("".join(lines))
    assert imported("plays.tsv").count() == 30


def test_text_in_parquet_may_be_of_any_kind() -> None:
    text = pa.array([f"u{n % 9}" for n in range(30)], pa.large_string())
    events = pa.array(["view", "buy"] * 15).dictionary_encode()
    moments = pa.array([1_700_000_000 + n for n in range(30)], pa.timestamp("s"))
    pq.write_table(
        pa.table({"customer": text, "sku": text.cast(pa.string_view()), "action": events, "ts": moments}), "log.parquet"
    )
    assert counted(imported("log.parquet")) == {"click": 15, "purchase": 15}


def test_values_inside_objects_are_found_and_lines_that_are_none_left_out() -> None:
    lines = [
        json.dumps({"user": {"id": n % 9}, "item": {"id": f"i{n % 7}"}, "ts": 1_700_000_000 + n}) for n in range(30)
    ]
    Path("log.jsonl").write_text("\n".join([*lines, '{"user": ']))
    assert imported("log.jsonl").count() == 30


def test_a_rating_below_zero_is_one_and_spaces_may_part_values() -> None:
    Path("log.txt").write_text(
        "user item rating\n" + "".join(f"{n % 9} {n % 7} {(-1, 10)[n % 2]}\n" for n in range(30))
    )
    assert counted(imported("log.txt")) == {"click": 30, "like": 15}


def test_where_few_rows_have_a_user_sessions_are_users() -> None:
    rows = "".join(f"{n // 3};{('NA', n)[n % 4 == 0]};{n % 7};{1_700_000_000 + n}\n" for n in range(60))
    Path("views.csv").write_text(f"session_id;user_id;item_id;time\n{rows}")
    assert (imported("views.csv").count(), "75% of the rows have no 'user_id'" in run("auto", "views.csv").output) == (
        60,
        True,
    )


def test_a_time_of_day_beside_the_date_is_seen() -> None:
    rows = "".join(f"{'ab'[n % 2]};{n % 7};{13 + n % 2}.09.2020;{8 + n % 9}:0{n % 9}\n" for n in range(30))
    Path("sales.csv").write_text(f"member;article;Date;Time\n{rows}")
    assert imported("sales.csv").span().start.isoformat() == "2020-09-13T08:00:00+00:00"


def test_a_remark_before_the_first_row_is_named() -> None:
    Path("log.txt").write_text(
        "% a graph of bids\n" + "".join(f"{n % 9} {n % 7} 1 {1_700_000_000 + n}\n" for n in range(9))
    )
    assert "the first line has 5 values and most others have 4" in str(run("auto", "log.txt").exception)


def test_a_number_may_be_the_name_of_a_column(tmp_path: Path) -> None:
    Path("log.csv").write_text("user_id,item_id,timestamp,2024\n1,2,1700000000,x\n2,3,1700000001,y\n")
    assert imported("log.csv").count() == 2


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    Path("log.csv").write_text("when,what\n2024-01-01T00:00:00Z,a\n2024-01-02T00:00:00Z,b\n")
    result = run("auto", "log.csv")
    assert "--item-column" in str(result.exception)


def test_lines_are_those_of_files_and_not_what_values_hold(tmp_path: Path) -> None:
    rows = [{"user": f"u{n % 9}", "item": n % 7, "ts": 1_700_000_000 + n, "text": "a\u2028b\x85c"} for n in range(200)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert read_sample(tmp_path / "log.jsonl").table.num_rows == 200
    lines = [f"u{n % 9},i{n % 7},{1_700_000_000 + n},{'x' * 200}\n" for n in range(8000)]
    (tmp_path / "log.csv").write_text("user,item,ts,text\n" + "".join(lines), encoding="utf-16")
    sample = read_sample(tmp_path / "log.csv")
    assert (sample.encoding, sample.whole) == ("utf-16", False)
    assert set(sample.table["user"].to_pylist()) == {f"u{n}" for n in range(9)}
