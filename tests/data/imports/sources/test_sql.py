"""What queries select is imported in bounded memory, with its types, and by a password that nobody sees."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.sources.sql import Query, SqlReader
from pagoda.errors import ConfigError, DataError, UnavailableError
from tests.serving.torchserve import free_port

PASSWORD = "s3/cr@t:x"  # noqa: S105
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
TABLES = """
CREATE TABLE sku (id bigint, label text, price numeric(10, 2), PRIMARY KEY (id));
CREATE TABLE customer (id bigint PRIMARY KEY, age int);
CREATE TABLE sale (buyer bigint, sku bigint, at {timestamp}, channel text);
INSERT INTO sku VALUES (10, 'Mug: 100% :big', 12.50), (9007199254740993, 'Cup', NULL);
INSERT INTO customer VALUES (1, 34), (2, NULL);
INSERT INTO sale VALUES (2, 9007199254740993, '2024-05-01 09:00:00.123456+02:00', 'web'),
                        (1, 10, '2024-05-01 06:00:00+00:00', 'shop');
"""
SALES = "SELECT buyer AS user_id, sku AS item_id, at AS timestamp FROM sale -- of all time"
FEATURES = """
title: label
features:
  - {kind: numeric, name: age, tower: user, edges: [30]}
  - {kind: numeric, name: price, tower: item, edges: [10]}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL of our own that asks for the password; the URL has none."""
    if not PROGRAMS:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    folder, port, programs = Path(tempfile.mkdtemp()), free_port(), PROGRAMS[-1].parent
    (folder / "password").write_text(PASSWORD)
    # It refuses to run as root.
    user = "postgres" if os.getuid() == 0 else None
    for path in (folder, folder / "password") if user else ():
        shutil.chown(path, user)
    make = [programs / "initdb", "-D", folder / "data", "-A", "scram-sha-256", "-U", "ann", "-N"]
    options = f"-p {port} -k {folder} -c fsync=off -c listen_addresses=127.0.0.1"
    control = [programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log"]

    def run(*command: Any) -> None:
        subprocess.run(command, user=user, stdout=subprocess.DEVNULL, check=True, cwd=folder)

    try:
        run(*make, f"--pwfile={folder / 'password'}")
        run(*control, "-o", options, "start")
        with psycopg.connect(host="127.0.0.1", port=port, user="ann", password=PASSWORD, dbname="postgres") as found:
            found.execute(TABLES.format(timestamp="timestamptz") + "CREATE SEQUENCE receipts;")
        yield f"postgresql://ann@127.0.0.1:{port}/postgres"
        run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The same tables in SQLite."""
    with sqlite3.connect(tmp_path / "shop.db") as found:
        found.executescript(TABLES.format(timestamp="text"))
    found.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


Open = Callable[..., SqlReader]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Makes readers, and ends their transactions."""
    made: list[SqlReader] = []

    def open_(url: str, password: str = PASSWORD) -> SqlReader:
        made.append(SqlReader(url, password))
        return made[-1]

    yield open_
    for reader in made:
        reader.close()


def rows_of(folder: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for batch in Dataset.open(folder).batches() for row in batch.to_pylist()]


@pytest.mark.parametrize("database", ["server", "file"])
def test_queries_become_a_dataset_with_their_types(database: str, request: Any, tmp_path: Path) -> None:
    url = request.getfixturevalue(database)
    (tmp_path / "features.yaml").write_text(FEATURES)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    words = ["data", "import", "sql", str(tmp_path / "out"), "--interactions", url, "--query", SALES]
    words += ["--users-query", "SELECT id AS user_id, age FROM customer;", "--items-query", "SELECT * FROM sku"]
    words += ["--item-column", "id", "--features", str(tmp_path / "features.yaml")]
    result = CliRunner().invoke(app, [*words, "--password-file", str(tmp_path / "password")], catch_exceptions=False)
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert rows_of(tmp_path / "out") == [
        (1, 10, "click", datetime(2024, 5, 1, 6, tzinfo=UTC)),
        (2, 9007199254740993, "click", datetime(2024, 5, 1, 7, 0, 0, 123456, tzinfo=UTC)),
    ]
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.items().to_pylist() == [
        {"item_id": 10, "price": 12.5, "label": "Mug: 100% :big"},
        {"item_id": 9007199254740993, "price": None, "label": "Cup"},
    ]
    assert dataset.users()["age"].to_pylist() == [34.0, None]


def test_rows_are_not_held_and_no_query_can_change_anything(server: str, opened: Open, tmp_path: Path) -> None:
    many = """SELECT n % 1000 AS user_id, n % 7 AS item_id, to_timestamp(n) AS timestamp
              FROM (SELECT generate_series(1::bigint, {}) AS n) AS numbers"""
    reader = opened(server)
    # As many as would never end if they were fetched first.
    first = next(reader.batches(Query(many.format("100000000000")), ["user_id"]))
    assert 0 < first.num_rows < 100_000
    import_files(tmp_path / "out", Import(opened(server), Query(many.format(50_000))))
    assert Dataset.open(tmp_path / "out").count() == 50_000
    with pytest.raises(DataError, match="read-only transaction"):
        list(opened(server).batches(Query("SELECT nextval('receipts')"), ["nextval"]))


def test_all_queries_see_one_moment(server: str, opened: Open) -> None:
    reader = opened(server)
    assert len(next(reader.batches(Query("SELECT id FROM sku"), ["id"]))) == 2
    with psycopg.connect(server, password=PASSWORD, autocommit=True) as other:
        other.execute("INSERT INTO sku VALUES (11, 'Pot', 1)")
        assert len(next(reader.batches(Query("SELECT id FROM sku"), ["id"]))) == 2
        other.execute("DELETE FROM sku WHERE id = 11")


@pytest.mark.parametrize("place", ["url", "variable", "pgpass"])
def test_the_password_may_stand_in_several_places(
    place: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server
    if place == "url":
        url = server.replace("ann@", "ann:s3%2Fcr%40t%3Ax@")
    elif place == "variable":
        monkeypatch.setenv("PAGODA_SQL_PASSWORD", PASSWORD)
    else:
        (tmp_path / ".pgpass").write_text("127.0.0.1:*:*:ann:" + PASSWORD.replace(":", "\\:"))
        (tmp_path / ".pgpass").chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(tmp_path / ".pgpass"))
    words = ["data", "import", "sql", str(tmp_path / "out"), "--interactions", url, "--query", SALES]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT nothing FROM sale", 'column "nothing" does not exist'),
        ("SELECT buyer AS user_id FROM sale", "item_id"),
        ("DELETE FROM sale", "syntax error"),
    ],
)
def test_a_query_that_is_wrong_is_one_line(query: str, says: str, server: str, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        import_files(tmp_path / "out", Import(opened(server), Query(query)))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_error_shows_the_password(server: str, opened: Open) -> None:
    for url in (server, "postgresql://ann@127.0.0.1:9/shop", "mysql://ann@127.0.0.1:9/shop"):
        with pytest.raises(UnavailableError) as caught:
            opened(url, "wr0ng/pass@w").names(Query(SALES))
        assert "wr0ng" not in str(caught.value)
        assert "\n" not in str(caught.value)
    reader = SqlReader("postgresql://127.0.0.1:9/shop?user=ann&password=wr0ng")
    with pytest.raises(UnavailableError) as caught:
        reader.names(Query(SALES))
    assert "wr0ng" not in f"{caught.value} {reader}"
    for text in ("postgresql://ann:pa/ss@host:x/db", "oracle://ann:pa/ss@host/db", "no url: pa/ss"):
        with pytest.raises(ConfigError) as refused:
            SqlReader(text)
        assert "pa/ss" not in str(refused.value)


def test_sqlite_is_not_written_and_not_made(file: str, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        SqlReader(f"sqlite:///{tmp_path / 'other.db'}")
    assert not (tmp_path / "other.db").exists()
    with pytest.raises(DataError, match="values are of int, str"):
        list(opened(file).batches(Query("SELECT 1 AS a UNION ALL SELECT 'x'"), ["a"]))
