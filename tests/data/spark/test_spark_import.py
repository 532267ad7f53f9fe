"""An import on Spark beside the importer: the same files, the same rows in the same order, the same refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.ids import hash_ids
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.columns import ColumnNames
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.readers import CsvReader
from pagoda.data.imports.rows.rules import Ratings, RowRules
from pagoda.data.layout import FEATURES_FILE
from pagoda.data.parquet import parquet_files
from pagoda.errors import ConfigError, ConflictError, DataError, PagodaError

pytest.importorskip("pyspark", reason="pyspark is not installed: make test-spark")

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ["SCHEMAS"]).parent


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "3",
        # No one file for all that is small: ranges must follow each other.
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.memory": "1g",
    }
    running = SparkSession.builder.master("local[2]").config(map=settings).getOrCreate()
    yield running
    running.stop()


def on_spark(path: Path, job: Import, session: Any) -> None:
    from pagoda.data.spark.importer import import_files as on_spark

    on_spark(path, job, session)


def content(path: Path) -> dict[str, Any]:
    """All that a dataset says, however it is cut into files."""
    found: dict[str, Any] = {FEATURES_FILE: (path / FEATURES_FILE).read_text()}
    for table in ("users", "items"):
        found[table] = read(parquet_files(path / table))
    for day in sorted((path / "interactions").iterdir()):
        found[day.name] = read(parquet_files(day))
    return found


def read(files: list[Path]) -> pa.Table:
    return pa.concat_tables([pq.read_table(file, partitioning=None) for file in files]).combine_chunks()


def same(tmp_path: Path, job: Import, session: Any) -> Path:
    import_files(tmp_path / "one", job)
    on_spark(tmp_path / "spark", job, session)
    assert content(tmp_path / "spark") == content(tmp_path / "one")
    assert check_dataset(tmp_path / "spark").report.ok
    return tmp_path / "spark"


def halves(file: Path, folder: Path) -> Path:
    """The rows of a file as two: Spark sorts what it read in one part without any ranges."""
    header, *rows = file.read_bytes().splitlines(keepends=True)
    folder.mkdir()
    for number, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
        (folder / f"{number}.tsv").write_bytes(b"".join([header, *part]))
    return folder


def test_movielens_is_the_same_with_likes_behind_their_clicks(tmp_path: Path, session: Any) -> None:
    import recbole

    source = Path(recbole.__path__[0]) / "dataset_example" / "ml-100k"
    features = tmp_path / "features.yaml"
    features.write_text(
        "title: title\nfeatures:\n  - {kind: numeric, name: age, tower: user, edges: [18, 30]}\n"
        "  - {kind: multi, name: genres, tower: item}\n"
    )
    named = {"age": "age:token", "genres": "class:token_seq", "title": "movie_title:token_seq"}
    named |= {"user_id": "user_id:token", "item_id": "item_id:token", "timestamp": "timestamp:float"}
    job = Import(
        CsvReader("\t", None),
        halves(source / "ml-100k.inter", tmp_path / "halves"),
        source / "ml-100k.user",
        source / "ml-100k.item",
        features,
        ColumnNames(named, drop_others=True),
        Conversion(TimeUnit.SECONDS, separator=" "),
        rules=RowRules(ratings=Ratings("rating:float", 4.0)),
    )
    path = same(tmp_path, job, session)
    days = list((path / "interactions").iterdir())
    assert len(list((path / "interactions").rglob("part-*.parquet"))) > len(days)  # Ranges end within a date.


def test_string_ids_of_several_files_with_ties_are_the_same(tmp_path: Path, session: Any) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    lines = (SHARED / "data" / "beauty.txt").read_text().splitlines()[:300]
    for number in range(3):
        rows = [
            f'"user,{user}",it\u00e9m {item},{1_700_000_000 + (int(item) * 7919) % 200_000}'
            for line in lines[number::3]
            for user, *items in [line.split()]
            for item in items
        ]
        (folder / f"{number}.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    path = same(tmp_path, Import(CsvReader(), folder, conversion=Conversion(TimeUnit.SECONDS)), session)
    users = read(parquet_files(path / "users"))["user_id"]
    assert (hash_ids(users)[1:] > hash_ids(users)[:-1]).all()


@pytest.mark.parametrize("name", ["openquote_log.csv", "no_header.csv", "nul_log.csv", "crlf_log.csv"])
def test_a_hostile_file_is_taken_or_refused_alike(
    tmp_path: Path, session: Any, name: str, hostile: Callable[[str], Path]
) -> None:
    job = Import(CsvReader(), hostile(name))
    said = []
    for engine, path in ((import_files, tmp_path / "one"), (on_spark, tmp_path / "spark")):
        try:
            engine(path, job, *([session] if engine is on_spark else []))
            said.append("")
        except PagodaError as error:
            said.append(str(error))
    assert said[0] == said[1]
    if not said[0]:
        assert content(tmp_path / "spark") == content(tmp_path / "one")
    assert said[0] or (tmp_path / "spark").exists()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("cases")
    make = SHARED / "cases" / "data" / "make.py"
    subprocess.run([sys.executable, make, folder], check=True, capture_output=True)
    return lambda name: folder / name


GOOD = "user_id,item_id,timestamp\nann,mug,2024-05-01T10:00:00Z\nbob,cup,2024-05-02T10:00:00Z\n"


@pytest.mark.parametrize(
    ("log", "items", "said"),
    [
        (GOOD + "ann,pot,2024-05-01T10:00:00Z\n", "item_id\nmug\ncup\n", "row 3: value 'pot': no such item"),
        (GOOD, "item_id\nmug\ncup\nmug\n", "row 3: value 'mug': the ID was already in row 1 of"),
        (GOOD + "ann,mug,yesterday\n", None, "row 3: value 'yesterday': not an ISO timestamp"),
        ("user_id,item_id,timestamp\n", None, "there is no interaction"),
    ],
)
def test_what_is_wrong_is_said_by_the_same_words_and_nothing_is_left(
    tmp_path: Path, session: Any, log: str, items: str | None, said: str
) -> None:
    (tmp_path / "log.csv").write_text(log)
    if items is not None:
        (tmp_path / "items.csv").write_text(items)
    job = Import(CsvReader(), tmp_path / "log.csv", items=None if items is None else tmp_path / "items.csv")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError) as one:
        import_files(tmp_path / "shop", job)
    with pytest.raises(DataError) as spark:
        on_spark(tmp_path / "shop", job, session)
    assert said in str(spark.value)
    assert str(spark.value) == str(one.value)
    assert sorted(tmp_path.iterdir()) == before


def test_two_strings_with_one_hash_are_refused(tmp_path: Path, session: Any) -> None:
    from pagoda.data.imports.table_reader import Noticed
    from pagoda.data.spark.ids import HASH, ID, Ids
    from pagoda.data.spark.reading import ReadTable

    given = [("ann", 0, 1), ("bob", 0, 2), ("al", 0, 3)]
    rows = session.createDataFrame(given, "user_id string, `#part` int, `#row` long")
    ids = Ids("customer", [(ReadTable(rows, 3, ["log.csv"], Noticed()), "user_id")])
    hashed = ids.distinct(strings=True)
    ids.refuse_shared_hashes(hashed)
    by_length = hashed.drop(HASH).selectExpr("*", f"length(`{ID}`) AS `{HASH}`")
    with pytest.raises(DataError, match=r"column 'customer', row 2: value 'bob': its 64-bit hash is that of 'ann'"):
        ids.refuse_shared_hashes(by_length)


def test_a_table_of_the_catalogue_is_read_by_its_name(tmp_path: Path, session: Any) -> None:
    from pagoda.data.spark.importer import import_files as on_spark
    from pagoda.data.spark.tables import SparkTables

    (tmp_path / "log.csv").write_text(GOOD)
    import_files(tmp_path / "one", Import(CsvReader(), tmp_path / "log.csv"))
    log = session.createDataFrame(
        [("bob", "cup", "2024-05-02T10:00:00Z"), ("ann", "mug", "2024-05-01T10:00:00Z")],
        "user_id string, item_id string, timestamp string",
    )
    log.selectExpr("user_id", "item_id", "CAST(timestamp AS timestamp) AS timestamp").createOrReplaceTempView("log")
    on_spark(tmp_path / "spark", Import(SparkTables(session), "log"), session)
    assert content(tmp_path / "spark") == content(tmp_path / "one")
    with pytest.raises(DataError, match="no such table"):
        on_spark(tmp_path / "other", Import(SparkTables(session), "nothing"), session)


def test_options_of_the_other_engine_and_existing_folders_are_refused(tmp_path: Path, session: Any) -> None:
    (tmp_path / "log.csv").write_text(GOOD)
    with pytest.raises(ConfigError, match="--keep-order"):
        on_spark(tmp_path / "shop", Import(CsvReader(), tmp_path / "log.csv", keep_order=True), session)
    with pytest.raises(ConflictError, match="exists already"):
        on_spark(tmp_path, Import(CsvReader(), tmp_path / "log.csv"), session)


def test_a_killed_import_leaves_nothing_half_written_and_the_next_one_finishes(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD)
    verb = "import sys; sys.argv[0] = 'pagoda'; from pagoda.cli.main import main; main()"
    options = ["--interactions", "log.csv", "--engine", "spark"]
    command = [sys.executable, "-c", verb, "data", "import", "csv", "shop", *options]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": paths}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as killed:
        while not list(tmp_path.glob(".shop.*/users/part-*")) and killed.poll() is None:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    assert not (tmp_path / "shop").exists()
    assert list(tmp_path.glob(".shop.*"))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "shop: 2 interactions, 2 users, 2 items" in done.stdout, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "shop"]
    assert {path.name for path in (tmp_path / "shop").iterdir()} == {FEATURES_FILE, "interactions", "items", "users"}
