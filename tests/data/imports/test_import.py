"""`pagoda data import csv|parquet`: the same rows come out in time order, or nothing is written."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import pagoda.data.ids
from pagoda.cli.main import app
from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.columns import ColumnNames
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader, ParquetReader
from pagoda.data.spec import write_spec
from pagoda.errors import ConfigError, ConflictError, DataError
from tests.data.folders import SPEC

CSV = CsvReader()


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def rows_of(path: Path, columns: list[str] | None = None) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in Dataset.open(path).batches(columns=columns) for row in batch.to_pylist()]


def import_csv(folder: Path, content: str, **options: Any) -> Path:
    """Import interactions given as CSV text."""
    import_files(folder / "out", Import(CSV, text(folder / "log.csv", content), **options))
    return folder / "out"


LOG = """user_id,item_id,timestamp
2,20,2024-01-02T00:30:00+01:00
1,10,2024-01-01 12:00:00Z
1,20,2024-01-03T00:00:00.250000Z
"""


def test_ids_alone_are_enough_and_rows_are_sorted_into_their_utc_dates(tmp_path: Path) -> None:
    path = import_csv(tmp_path, LOG)
    assert rows_of(path) == [
        (1, 10, "click", datetime(2024, 1, 1, 12, tzinfo=UTC)),
        (2, 20, "click", datetime(2024, 1, 1, 23, 30, tzinfo=UTC)),
        (1, 20, "click", datetime(2024, 1, 3, 0, 0, 0, 250_000, tzinfo=UTC)),
    ]
    assert sorted(p.name for p in (path / "interactions").iterdir()) == ["date=2024-01-01", "date=2024-01-03"]
    dataset = Dataset.open(path)
    assert dataset.items().to_pylist() == [{"item_id": 10}, {"item_id": 20}]
    assert dataset.users().to_pylist() == [{"user_id": 1}, {"user_id": 2}]
    assert check_dataset(path).report.ok
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "out"]


ids = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5)
interactions = st.lists(
    st.tuples(ids, ids, st.integers(0, 400), st.sampled_from(["click", "like"])), min_size=1, max_size=40
)


@settings(max_examples=40)
@given(interactions, st.integers(1, 2000), st.booleans())
def test_imported_rows_are_the_given_rows_sorted_by_time(rows: list[Any], budget_bytes: int, strings: bool) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    as_given = [(str(u), str(i), e, start + timedelta(minutes=7 * t)) if strings else
                (u, i, e, start + timedelta(minutes=7 * t)) for u, i, t, e in rows]  # fmt: skip
    names = ["user_id", "item_id", "event", "timestamp"]
    table = pa.table({name: [row[column] for row in as_given] for column, name in enumerate(names)})
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "log.parquet", Path(folder) / "out"
        pq.write_table(table, source, row_group_size=7)
        import_files(out, Import(ParquetReader(), source, budget_bytes=budget_bytes))
        columns = ["user_key", "item_key", "event", "timestamp"] if strings else None
        assert rows_of(out, columns) == sorted(as_given, key=lambda row: row[3])
        dataset = Dataset.open(out)
        key = "user_key" if strings else "user_id"
        assert sorted(dataset.users()[key].to_pylist()) == sorted({row[0] for row in as_given})
        assert check_dataset(out).report.ok


FEATURES = SPEC
ITEMS = "item_id,genres,picture,title\n10,a|b,0.5|1,Ten\n20,,,\n"
USERS = "user_id,age\n1,33\n2,\n"
FULL_LOG = "user_id,item_id,event,timestamp,device\n1,10,like,2024-01-01T00:00Z,phone\n"


@pytest.fixture
def full(tmp_path: Path) -> Any:
    """Import users, items and interactions with features; any of the three texts can be given."""
    write_spec(FEATURES, tmp_path / "features.yaml")

    def run(log: str = FULL_LOG, users: str = USERS, items: str = ITEMS, **options: Any) -> Path:
        files = (
            text(tmp_path / f"{name}.csv", given) for name, given in (("log", log), ("users", users), ("items", items))
        )
        import_files(tmp_path / "out", Import(CSV, *files, features=tmp_path / "features.yaml", **options))
        return tmp_path / "out"

    return run


def test_features_are_read_from_text(full: Any) -> None:
    dataset = Dataset.open(full())
    assert dataset.items().to_pylist() == [
        {"item_id": 10, "genres": ["a", "b"], "picture": [0.5, 1.0], "title": "Ten"},
        {"item_id": 20, "genres": None, "picture": None, "title": None},
    ]
    assert dataset.users().to_pylist() == [{"user_id": 1, "age": 33.0}, {"user_id": 2, "age": None}]
    assert rows_of(dataset.path, ["event", "device"]) == [("like", "phone")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"log": FULL_LOG + "1,,click,2024-01-01T00:00Z,x\n"}, r"log.csv, column 'item_id', row 2: value null"),
        ({"log": FULL_LOG + "1,77,click,2024-01-01T00:00Z,x\n"}, r"log.csv, column 'item_id', row 2: value 77: no"),
        ({"log": FULL_LOG + "1,10,klick,2024-01-01T00:00Z,x\n"}, r"column 'event', row 2: value 'klick': known events"),
        ({"log": FULL_LOG + "1,10,,2024-01-01T00:00Z,x\n"}, r"column 'event', row 2: value null"),
        ({"log": FULL_LOG + "1,10,click,2024-01-01T00:00,x\n"}, r"row 2: value '2024-01-01T00:00': .*zone"),
        ({"log": FULL_LOG + "1,10,click,2024-01-01,x\n"}, r"row 2: value '2024-01-01': .* no zone"),
        ({"log": FULL_LOG + "1,10,click,874724710,x\n"}, r"row 2: value '874724710': not an ISO .* seconds"),
        ({"log": FULL_LOG + "1,10,click,2999-01-01T00:00Z,x\n"}, r"column 'timestamp', row 2: .*in the future"),
        ({"log": FULL_LOG + "1,ten,click,2024-01-01T00:00Z,x\n"}, r"column 'item_id', row 2: value 'ten': cannot"),
        ({"log": FULL_LOG + "1,10,click\n"}, r"log.csv, line 3: Expected 5 columns, got 3"),
        ({"log": ""}, r"log.csv: empty"),
        ({"log": "user_id,item_id,event,timestamp,device\n"}, r"log.csv: there is no interaction"),
        ({"log": "user_id,item_id,event,device\n1,10,click,x\n"}, r"log.csv, column 'timestamp': .* missing"),
        ({"log": FULL_LOG.replace("device", "device,price").replace("phone", "phone,3")}, r"column 'price': .*--drop"),
        ({"log": FULL_LOG.replace("device", "device,device").replace("phone", "a,b")}, r"'device': .*more than once"),
        ({"users": USERS + "3,nan\n"}, r"users.csv, column 'age', row 3: value nan: a number must be finite"),
        ({"users": USERS + "3,inf\n"}, r"users.csv, column 'age', row 3: value inf"),
        ({"users": USERS + "3,old\n"}, r"users.csv, column 'age', row 3: value 'old': cannot be read as double"),
        ({"users": USERS + "1,5\n"}, r"users.csv, column 'user_id', row 3: value 1: the ID was already in row 1 of"),
        ({"items": ITEMS + "10,,,\n"}, r"items.csv, column 'item_id', row 3: value 10: the ID was already in row 1 of"),
        ({"items": ITEMS + "30,,1|2|3,\n"}, r"items.csv, column 'picture', row 3: .* length 2 is declared"),
        ({"items": ITEMS + "30,,1|x,\n"}, r"items.csv, column 'picture', row 3: value '1\|x': cannot be read"),
        ({"items": "item_id,genres,picture\n10,,\n"}, r"items.csv, column 'title': the column is missing"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_nothing_is_written(
    tmp_path: Path, full: Any, given: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        full(**given)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["features.yaml", "items.csv", "log.csv", "users.csv"]


@pytest.mark.parametrize(
    ("unit", "zone", "given", "expected"),
    [
        (TimeUnit.SECONDS, None, "874724710", "1997-09-20T03:05:10Z"),
        (TimeUnit.SECONDS, None, "874724710.000001", "1997-09-20T03:05:10.000001Z"),
        (TimeUnit.MILLISECONDS, None, "874724710001", "1997-09-20T03:05:10.001Z"),
        (TimeUnit.MICROSECONDS, None, "874724710000001", "1997-09-20T03:05:10.000001Z"),
        (TimeUnit.ISO, None, "1997-09-20T03:05:10.123456789Z", "1997-09-20T03:05:10.123456Z"),
        (TimeUnit.ISO, "Europe/Berlin", "1997-09-20 05:05:10", "1997-09-20T03:05:10Z"),
        (TimeUnit.ISO, "Europe/Berlin", "1997-09-20T03:05:10Z", "1997-09-20T03:05:10Z"),
    ],
)
def test_timestamps_keep_their_microseconds(
    tmp_path: Path, unit: TimeUnit, zone: str | None, given: str, expected: str
) -> None:
    path = import_csv(tmp_path, f"user_id,item_id,timestamp\n1,1,{given}\n", conversion=Conversion(unit, zone))
    assert rows_of(path, ["timestamp"]) == [(datetime.fromisoformat(expected),)]


@pytest.mark.parametrize(
    ("times", "unit", "expected"),
    [
        (pa.array([874724710.25]), TimeUnit.SECONDS, "1997-09-20T03:05:10.25Z"),
        (pa.array([874724710], pa.int32()), TimeUnit.SECONDS, "1997-09-20T03:05:10Z"),
        (pa.array([874724710000], pa.timestamp("ms", tz="Asia/Tokyo")), TimeUnit.ISO, "1997-09-20T03:05:10Z"),
        (pa.array([874724710], pa.timestamp("s")), TimeUnit.ISO, "no zone"),
        (pa.array([float("nan")]), TimeUnit.SECONDS, "not a number of seconds"),
        (pa.array([2**62]), TimeUnit.SECONDS, "not a number of seconds"),
        (pa.array([874724710]), TimeUnit.ISO, "not an ISO timestamp"),
        (pa.array([874724710000]), TimeUnit.SECONDS, "value 874724710000000000 µs after 1970: lies in the future"),
        (pa.array(["1997-09-20T03:05:10Z"], pa.large_string()), TimeUnit.ISO, "1997-09-20T03:05:10Z"),
        (pa.array(["1997-09-20T03:05:10Z"]).dictionary_encode(), TimeUnit.ISO, "1997-09-20T03:05:10Z"),
    ],
)
def test_parquet_timestamps_are_converted_or_refused(
    tmp_path: Path, times: pa.Array, unit: TimeUnit, expected: str
) -> None:
    pq.write_table(pa.table({"user_id": [1], "item_id": [1], "timestamp": times}), tmp_path / "log.parquet")
    job = Import(ParquetReader(), tmp_path / "log.parquet", conversion=Conversion(unit))
    if expected.endswith("Z"):
        import_files(tmp_path / "out", job)
        assert rows_of(tmp_path / "out", ["timestamp"]) == [(datetime.fromisoformat(expected),)]
    else:
        with pytest.raises(DataError, match=rf"column 'timestamp', row 1: .*{expected}"):
            import_files(tmp_path / "out", job)


@pytest.mark.parametrize(
    ("first", "expected"), [("7", "int64"), ("007", "string"), ("a7", "string"), ("-3", "int64"), ("9" * 19, "string")]
)
def test_the_type_of_text_ids_follows_the_first_rows(tmp_path: Path, first: str, expected: str) -> None:
    path = import_csv(tmp_path, f"user_id,item_id,timestamp\n{first},1,2024-01-01T00:00Z\n")
    assert Dataset.open(path).spec.id_type == expected


def test_a_file_without_rows_says_nothing_of_the_type(tmp_path: Path) -> None:
    names = ("user_id", "item_id", "timestamp")
    (tmp_path / "log").mkdir()
    for number, rows in enumerate(([], [7])):
        part = tmp_path / "log" / f"part-{number}"
        text(
            part.with_suffix(".csv"),
            "".join(f"{line}\n" for line in (",".join(names), *(f"{n},{n},{n}" for n in rows))),
        )
        pq.write_table(pa.table({name: pa.array(rows, pa.int64()) for name in names}), part.with_suffix(".parquet"))
    for name, reader in (("csv", CSV), ("parquet", ParquetReader())):
        import_files(tmp_path / name, Import(reader, tmp_path / "log", conversion=Conversion(TimeUnit.SECONDS)))
        assert Dataset.open(tmp_path / name).spec.id_type == "int64"


def test_hidden_copies_are_not_imported(tmp_path: Path) -> None:
    log = "user_id,item_id,timestamp\n7,1,2024-01-01T00:00:00Z\n"
    (tmp_path / ".log" / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("log.csv", ".ipynb_checkpoints/log-checkpoint.csv", ".log.csv"):
        text(tmp_path / ".log" / name, log)
    import_files(tmp_path / "out", Import(CSV, tmp_path / ".log"))
    assert Dataset.open(tmp_path / "out").count(Dataset.open(tmp_path / "out").span()) == 1


def test_a_text_id_among_numbers_is_refused_unless_ids_are_strings(tmp_path: Path) -> None:
    source = text(tmp_path / "log.parquet", "")
    pq.write_table(pa.table({"user_id": ["1"], "item_id": ["x"], "timestamp": [0]}), source)
    job = Import(ParquetReader(), source, id_type="int64", conversion=Conversion(TimeUnit.SECONDS))
    with pytest.raises(DataError, match=r"'item_id', row 1: value 'x': .* int64 .*--id-type string"):
        import_files(tmp_path / "out", job)


@pytest.mark.parametrize("other", ["007", "0x7", "-0", "+7"])
def test_no_two_text_ids_become_one_number(tmp_path: Path, other: str) -> None:
    log = f"user_id,item_id,timestamp\n7,1,2024-01-01T00:00:00Z\n{other},1,2024-01-01T00:00:00Z\n"
    with pytest.raises(DataError, match=re.escape(f"row 2: value '{other}': cannot be read as int64")):
        import_csv(tmp_path, log, id_type="int64")


def test_string_ids_with_one_hash_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagoda.data.ids.xxhash, "xxh3_64_intdigest", len)
    log = "user_id,item_id,timestamp\n" + "".join(f"u{n % 10}x,i,2024-01-01T00:00Z\n" for n in range(100))
    with pytest.raises(
        DataError, match=r"log.csv, column 'user_id', row 2: value 'u1x': its 64-bit hash is that of 'u0x'"
    ):
        import_csv(tmp_path, log, budget_bytes=200)
    assert [p.name for p in tmp_path.iterdir()] == ["log.csv"]


def test_a_corrupt_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"log.parquet: corrupt or truncated Parquet"):
        import_files(tmp_path / "out", Import(ParquetReader(), tmp_path / "log.parquet"))
    (tmp_path / "latin.csv").write_bytes("user_id,item_id,timestamp\n1,Bücher,2024\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin.csv, line 2, column 'item_id': value b'B.*': not UTF-8.* --encoding"):
        import_files(tmp_path / "out", Import(CSV, tmp_path / "latin.csv"))
    (tmp_path / "header.csv").write_bytes("user_id,item_id,timestamp,größe\n1,1,2024,1\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"header.csv, line 1: .*UTF-8"):
        import_files(tmp_path / "out", Import(CSV, tmp_path / "header.csv"))
    with pytest.raises(DataError, match="no such file"):
        import_files(tmp_path / "out", Import(CSV, tmp_path / "absent.csv"))


def test_options_that_contradict_each_other_are_refused(tmp_path: Path, full: Any) -> None:
    with pytest.raises(ConfigError, match="declared in"):
        full(id_type="string")
    with pytest.raises(ConfigError, match="'colour' cannot be read"):
        full(names=ColumnNames({"colour": "farbe"}))
    with pytest.raises(ConfigError, match="unknown"):
        Conversion(zone="Mars/Olympus")
    with pytest.raises(ConfigError, match=r"'genres'.* --items"):
        import_files(
            tmp_path / "out",
            Import(CSV, tmp_path / "log.csv", tmp_path / "users.csv", None, tmp_path / "features.yaml"),
        )
    with pytest.raises(ConfigError, match="'klick' is none of"):
        import_csv(tmp_path, LOG, default_event="klick")


def test_an_existing_folder_is_not_overwritten(tmp_path: Path) -> None:
    path = import_csv(tmp_path, LOG)
    with pytest.raises(ConflictError, match="not overwritten"):
        import_csv(tmp_path, LOG + "5,5,2024-01-01T00:00Z\n")
    assert len(rows_of(path)) == 3


def test_the_command_reads_folders_other_names_and_compressed_files(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "year=2024"
    folder.mkdir(parents=True)
    text(folder / "a.csv", "who;what;when;stars\nann;x;1704067200;5\n")
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"who;what;when;stars\nbob;y;1704067100;3\n"))
    arguments = [
        "data", "import", "csv", str(tmp_path / "out"), "--interactions", str(tmp_path / "logs"), "--delimiter", ";",
        "--user-column", "who", "--item-column", "what", "--timestamp-column", "when", "--timestamps", "seconds",
        "--event", "like",
    ]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "left out, since there is no feature file: stars" in result.output
    assert rows_of(tmp_path / "out", ["user_key", "item_key", "event"]) == [("bob", "y", "like"), ("ann", "x", "like")]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A file-size limit stands in for the disk: both end a write with an error of the system."""
    rng = np.random.default_rng(0)
    rows = 50_000
    columns = {
        "user_id": rng.integers(0, 2**60, rows),
        "item_id": rng.integers(0, 2**60, rows),
        "timestamp": np.arange(rows),
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    command = ["data", "import", "parquet", str(tmp_path / "out"), "--interactions", str(tmp_path / "log.parquet")]
    limited = ["sh", "-c", 'ulimit -f 200; exec "$@"', "sh", sys.executable, "-m", "pagoda", *command]
    result = subprocess.run([*limited, "--timestamps", "seconds"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "could not be written" in result.stderr
    assert "make room" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["log.parquet"]


def test_messages_use_the_columns_names_in_the_file(tmp_path: Path) -> None:
    names = ColumnNames({"user_id": "who", "timestamp": "when"})
    for row, column in (("x,1,2024-01-01", "when"), (",1,2024-01-01T00:00Z", "who")):
        with pytest.raises(DataError, match=rf"log.csv, column '{column}', row 1"):
            import_csv(tmp_path, f"who,item_id,when\n{row}\n", names=names)
