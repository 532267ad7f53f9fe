"""A dataset that goes out as TFRecord and comes in again is the same; what is damaged is refused by record."""

from __future__ import annotations

import gzip
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.imports.casts import Conversion
from pagoda.data.imports.choices import TimeUnit
from pagoda.data.imports.importer import Import, import_files
from pagoda.data.imports.sources.tfrecord import TfrecordReader
from pagoda.data.tfrecord.columns import ExampleEncoder
from pagoda.data.tfrecord.example import Example
from pagoda.data.tfrecord.export import export_tfrecord
from pagoda.data.tfrecord.records import framed, write_records
from pagoda.errors import DataError
from tests.data.folders import SPEC, interaction, write_dataset

NUMBERS = TimeUnit.MICROSECONDS


def come_in(exported: Path, out: Path) -> Dataset:
    tables = {name: exported / name for name in ("interactions", "users", "items")}
    job = Import(TfrecordReader(), **tables, features=exported / "features.yaml", conversion=Conversion(NUMBERS))
    import_files(out, job)
    return Dataset.open(out)


def content(dataset: Dataset) -> tuple[Any, ...]:
    columns = ["user_id", "item_id", "event", "timestamp", "device"]
    columns = [{"user_id": "user_key", "item_id": "item_key"}.get(name, name) for name in columns] if (
        dataset.spec.id_type == "string"
    ) else columns  # fmt: skip
    rows = [row for batch in dataset.batches(columns=columns) for row in batch.to_pylist()]
    return rows, dataset.users().to_pylist(), dataset.items().to_pylist()


text = st.text(st.characters(codec="utf-8"), max_size=5)
single = st.floats(width=32, allow_nan=False, allow_infinity=False)
item = st.fixed_dictionaries(
    {
        "genres": st.none() | st.lists(text, max_size=3),
        "picture": st.none() | st.lists(single, min_size=2, max_size=2),
        "title": st.none() | text,
    }
)


@settings(max_examples=12, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.lists(item, min_size=1, max_size=4),
    st.lists(st.none() | single, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**11), st.none() | text), min_size=1, max_size=8),
)
def test_what_goes_out_comes_in_again(
    strings: bool, compressed: bool, items: list[Any], ages: list[Any], events: list[Any]
) -> None:
    def key(number: int) -> Any:
        return f"k|{number}" if strings else (number - 2) << 61

    start = datetime(2024, 5, 1, tzinfo=UTC)
    rows: dict[str, list[Any]] = {}
    for number, us, device in sorted(events, key=lambda event: event[1]):
        at = start + timedelta(microseconds=us)
        row = {**interaction(at, key(number % len(ages)), key(number % len(items))), "device": device}
        rows.setdefault(f"date={at:%Y-%m-%d}", []).append(row)
    with tempfile.TemporaryDirectory() as folder:
        given_ = write_dataset(
            Path(folder) / "given",
            spec=SPEC.model_copy(update={"id_type": "string" if strings else "int64"}),
            parts=list(rows.items()),
            users=[{"user_id": key(number), "age": age} for number, age in enumerate(ages)],
            items=[{"item_id": key(number), **one} for number, one in enumerate(items)],
        )
        done = export_tfrecord(Dataset.open(given_), Path(folder) / "exported", compressed=compressed)
        assert (done.rounded, done.left_out) == ({}, {})
        assert content(come_in(Path(folder) / "exported", Path(folder) / "out")) == content(Dataset.open(given_))


def test_the_commands_and_what_32_bits_cannot_hold(tmp_path: Path) -> None:
    users = [{"user_id": 1, "age": 0.1}, {"user_id": 2, "age": 1e300}, {"user_id": 3, "age": 2.5}]
    write_dataset(tmp_path / "shop", users=users)
    words = ["data", "export", "tfrecord", str(tmp_path / "shop"), str(tmp_path / "tf"), "--gzip"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert "2 interactions, 3 users, 2 items" in result.output
    assert "age: 1 numbers were rounded" in result.output
    assert "age: 1 numbers are too large" in result.output
    words = ["data", "import", "tfrecord", str(tmp_path / "out"), "--timestamps", "microseconds"]
    for table in ("interactions", "users", "items"):
        words += [f"--{table}", str(tmp_path / "tf" / table)]
    words += ["--features", str(tmp_path / "tf/features.yaml")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert Dataset.open(tmp_path / "out").users()["age"].to_pylist() == [float(np.float32(0.1)), None, 2.5]


def write(path: Path, rows: list[dict[str, Any]], compressed: bool = False) -> Path:
    with path.open("wb") as file:
        write_records(ExampleEncoder().records([pa.RecordBatch.from_pylist(rows)]), file, compressed=compressed)
    return path


ROWS = [{"user_id": n, "item_id": 10 + n, "timestamp": 1_700_000_000 + n} for n in range(3)]


def imported(source: Path, out: Path) -> Dataset:
    import_files(out, Import(TfrecordReader(), source, conversion=Conversion(TimeUnit.SECONDS)))
    return Dataset.open(out)


def test_others_files_are_read_shard_by_shard_compressed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for number, row in enumerate(ROWS):
        write(folder / f"train.tfrecord-0000{number}-of-00003", [row], compressed=number == 1)
    dataset = imported(folder, tmp_path / "out")
    assert dataset.count() == 3
    assert dataset.spec.id_type == "int64"


def test_a_feature_that_only_late_records_have_is_a_column(tmp_path: Path) -> None:
    records = [ExampleEncoder().records([pa.RecordBatch.from_pylist([row])]) for row in ROWS]
    records.append(ExampleEncoder().records([pa.RecordBatch.from_pylist([{**ROWS[0], "page": "home"}])]))
    with (tmp_path / "log.tfrecord").open("wb") as file:
        write_records((one for some in records for one in some), file)
    assert TfrecordReader().names(tmp_path / "log.tfrecord") == ["item_id", "page", "timestamp", "user_id"]


def damaged(content: bytes, kind: str) -> bytes:
    no_text = Example()
    no_text.features.feature["user_id"].bytes_list.value.append(b"\xff")
    return {
        "cut": content[:-3],
        "cut in a length": content + content[:5],
        "a bit": content[:40] + bytes([content[40] ^ 1]) + content[41:],
        "a length": bytes([content[0] ^ 1]) + content[1:],
        "no TFRecord": b"user_id,item_id\n1,10\n",
        "cut gzip": gzip.compress(content)[:-9],
        "no Example": framed(b"\xff\xff\xff"),
        "no text": framed(no_text.SerializeToString()),
        "sequence": framed(Example(feature_lists=b"\x0a\x00").SerializeToString()),
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("cut", "record 3: the file ends within it"),
        ("cut in a length", "record 4: its length is damaged or cut off"),
        ("a bit", "record 1: it is not what its checksum says"),
        ("a length", "record 1: its length is damaged or cut off; is this TFRecord"),
        ("no TFRecord", "record 1: its length is damaged or cut off; is this TFRecord"),
        ("cut gzip", "the compressed file is damaged or cut off"),
        ("no Example", "record 1: is no tf.train.Example"),
        ("no text", "feature 'user_id': bytes that are no UTF-8 text"),
        ("sequence", "record 1: is a SequenceExample"),
    ],
)
def test_what_is_damaged_is_refused_by_record(kind: str, says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "log.tfrecord", ROWS)
    path.write_bytes(damaged(path.read_bytes(), kind))
    with pytest.raises(DataError, match=says):
        reader = TfrecordReader()
        list(reader.batches(path, reader.names(path)))


def test_several_values_where_one_is_expected_are_refused_by_row(tmp_path: Path) -> None:
    write(tmp_path / "log.tfrecord", [{**row, "user_id": [1]} for row in ROWS[:2]] + [{**ROWS[2], "user_id": [1, 2]}])
    with pytest.raises(DataError, match="column 'user_id', row 3"):
        imported(tmp_path / "log.tfrecord", tmp_path / "out")


def test_a_record_is_framed_as_tensorflow_documents_it() -> None:
    # Both sums were computed bit by bit from the polynomial 0x82F63B78, and masked by hand.
    assert framed(b"") == bytes(8) + bytes.fromhex("29039807") + bytes.fromhex("d8ea82a2")
