"""What a record of item changes from Kafka is, and that each is in the log once whoever reads it again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from pagoda.append_log.store import FolderStore
from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError, UnavailableError
from pagoda.item_changes.changes import removed, upserted
from pagoda.item_changes.log import ItemLog
from pagoda.item_changes.records import ItemChange
from pagoda.item_changes.removals import RemovalLimit
from pagoda.item_changes.snapshots import Fold
from serving.events.kafka_items import KafkaItems, change_of

from .test_items import SPEC, Specs

STRINGS = FeatureSpec(id_type="string", features=SPEC.features, title="title")
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def _dumped(one: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(one)
    except TypeError:  # An integer beyond 64 bits, or half of a pair of surrogates.
        return b"{"


_fields = st.dictionaries(st.sampled_from(["genres", "year", "picture", "title", "other"]), _values, max_size=2)
_items = st.builds(lambda id_, fields: {"item_id": id_, **fields}, st.just(1) | st.just("1") | _values, _fields)
_contents = st.none() | st.binary(max_size=40) | _items.map(_dumped)


def record(offset: int, key: bytes | None, value: bytes | None) -> Any:
    return ConsumerRecord("items", 0, offset, 0, 0, key, value, None, -1, -1, ())


def upsert(offset: int, item: int, year: int) -> Any:
    return record(offset, str(item).encode(), orjson.dumps({"item_id": item, "year": year}))


def items(folder: Path, limit: RemovalLimit | None = None) -> KafkaItems:
    """As a process that has just started has them."""
    return KafkaItems(ItemLog(str(folder), limit), Specs(), FolderStore(folder / "refused"))


def apply(process: KafkaItems, after: int, records: Sequence[Any]) -> int:
    return asyncio.run(process.apply("items/0", after, records))


@settings(deadline=None, max_examples=50)
@given(key=st.none() | st.binary(max_size=20) | st.just(b"1"), value=_contents)
def test_any_record_is_a_change_or_is_refused_by_field(key: bytes | None, value: bytes | None) -> None:
    for spec in (SPEC, STRINGS):
        try:
            found = change_of(spec, key, value)
        except RequestError as error:
            assert str(error).startswith(("key: ", "body"))
        else:
            assert str(found.item_id).encode() == key


def test_a_record_says_what_a_request_says() -> None:
    item = {"item_id": "a", "year": 1994, "genres": ["Drama"], "title": "Seven"}
    assert change_of(STRINGS, b"a", orjson.dumps(item)) == upserted(STRINGS, item, "item")
    assert change_of(STRINGS, "é".encode(), None) == removed(STRINGS, "é", "item")
    assert change_of(SPEC, b"17", None) == ItemChange(item_id=17, features=None)


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_whoever_reads_again_and_from_wherever_each_record_is_in_the_log_once_and_in_order(data: st.DataObject) -> None:
    topic = [
        upsert(offset, item, offset) if item < 4 else record(offset, b"4", b"bad")
        for offset, item in enumerate(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=12)))
    ]
    with TemporaryDirectory() as folder:
        log, processes = ItemLog(folder), [items(Path(folder)) for _ in range(2)]
        for _ in range(data.draw(st.integers(1, 12))):
            if data.draw(st.booleans()):  # somebody posts a change
                log.append([ItemChange(item_id=data.draw(st.integers(0, 3)), features={"year": -1.0})])
            process = data.draw(st.sampled_from(processes))
            after = data.draw(st.integers(-1, len(topic) - 2))  # also where others have long been past it
            apply(process, after, topic[after + 1 : data.draw(st.integers(after + 2, len(topic)))])
        end = -1 if (offset := log.offset("items/0")) is None else offset
        taken = [one.features["year"] for one in _changes(log) if one.features and one.features["year"] >= 0]
        assert taken == [float(one.offset) for one in topic[: end + 1] if one.value != b"bad"]


def _changes(log: ItemLog) -> list[ItemChange]:
    return [one for each in log.records() for one in each.changes]


BAD = {
    b"{": "body: not JSON",
    b"\xff": "body: not JSON",
    b"": "body: not JSON",
    b"[1]": "body: must be a JSON object, not list",
    b'{"item_id": 5, "colour": 1}': "body.colour: unknown field",
    b'{"item_id": 5, "year": "MCM"}': "body.year: feature 'year'",
    b'{"item_id": 6}': "key: must be the item's ID, 6 (got 5)",
    b'{"year": 1}': "body.item_id: must be an integer",
}


def test_bad_records_are_filed_with_the_reason_counted_and_hold_up_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("taken"), counted("refused")
    values = [(b"5", value) for value in BAD] + [(None, b'{"item_id": 5}'), (b"five", None)]
    records = [record(offset, key, value) for offset, (key, value) in enumerate(values, 1)]
    assert apply(items(tmp_path), -1, [upsert(0, 5, 1), *records, upsert(11, 5, 2)]) == 12
    assert [one.features and one.features["year"] for one in _changes(ItemLog(str(tmp_path)))] == [1.0, 2.0]
    rows = refused(tmp_path)
    assert [row["offset"] for row in rows] == list(range(1, 11))
    assert [row["value"] for row in rows] == [_text(value) for _, value in values]
    named = [*BAD.values(), *["key: must be the item's ID as text"] * 2]
    assert all(row["reason"].startswith(why) for row, why in zip(rows, named, strict=True))
    assert (counted("taken"), counted("refused")) == (before[0] + 2, before[1] + 10)
    (line,) = caplog.messages
    assert line.startswith("Kafka items/0: 10 records of item changes are refused, the first at 1 (body); ")


def counted(outcome: str) -> float:
    return REGISTRY.get_sample_value("pagoda_kafka_item_records_total", {"outcome": outcome}) or 0.0


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


def refused(folder: Path) -> list[dict[str, Any]]:
    """The records that were filed, in order."""
    lines = [line for file in (folder / "refused").iterdir() for line in file.read_bytes().splitlines()]
    return sorted(map(orjson.loads, lines), key=lambda row: row["offset"])


def test_a_record_is_filed_before_the_log_is_past_it_and_once(tmp_path: Path) -> None:
    class Down(ItemLog):
        def append(self, *_: object, **__: object) -> Any:
            raise UnavailableError("item log: does not answer")

    down = KafkaItems(Down(str(tmp_path)), Specs(), FolderStore(tmp_path / "refused"))
    for process in (down, down):
        with pytest.raises(UnavailableError):
            apply(process, -1, [record(0, b"x", None)])
    assert apply(items(tmp_path), -1, [record(0, b"x", None), upsert(1, 5, 1)]) == 2
    assert [row["offset"] for row in refused(tmp_path)] == [0]


def test_records_wait_until_something_is_released(tmp_path: Path) -> None:
    class Later:
        async def spec(self) -> FeatureSpec:
            raise UnavailableError("no generation was released yet")

    with pytest.raises(UnavailableError, match="released"):
        apply(KafkaItems(ItemLog(str(tmp_path)), Later(), FolderStore(tmp_path / "refused")), -1, [upsert(0, 5, 1)])
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_the_log_names_offsets_only_where_it_has_some(tmp_path: Path) -> None:
    """Earlier releases read what did not come from Kafka."""
    ItemLog(str(tmp_path)).append([ItemChange(item_id=1, features=None)])
    apply(items(tmp_path), -1, [upsert(7, 1, 1)])
    posted, read = (orjson.loads(file.read_bytes()) for file in sorted(tmp_path.glob("*.json")))
    assert posted.keys() == {"number", "at", "token", "changes"}
    assert read["offsets"] == {"items/0": 7}


def test_removals_beyond_what_may_go_are_refused_and_all_else_is_taken(tmp_path: Path) -> None:
    process = items(tmp_path, RemovalLimit(0.1, timedelta(days=1), lambda: 20))
    records = [record(n, str(n).encode(), None) for n in range(4)] + [upsert(4, 9, 1), record(5, b"0", None)]
    assert apply(process, -1, records) == 6
    log = ItemLog(str(tmp_path))
    assert [(one.item_id, one.features is None) for one in _changes(log)] == [
        *((0, True), (1, True), (9, False), (0, True))
    ]
    assert [row["key"] for row in refused(tmp_path)] == ["2", "3"]
    assert "more than the 2 (10.0% of the catalogue's 20)" in refused(tmp_path)[0]["reason"]
    assert log.offset("items/0") == 5


def test_records_that_are_all_refused_are_not_read_again(tmp_path: Path) -> None:
    assert apply(items(tmp_path), -1, [record(0, b"x", None), record(1, None, None)]) == 2
    assert asyncio.run(items(tmp_path).applied("items/0")) == 1
    assert _changes(ItemLog(str(tmp_path))) == []


def test_what_a_removed_item_was_is_known_after_a_topic_said_both_at_once(tmp_path: Path) -> None:
    apply(items(tmp_path), -1, [upsert(0, 3, 1999), record(1, b"3", None)])
    fold = Fold()
    fold.take_all(ItemLog(str(tmp_path)).records())
    assert [one.features and one.features["year"] for one in fold.record().changes] == [1999.0, None]


@pytest.mark.parametrize("after", [-1, 0, 7])
def test_nothing_is_taken_from_elsewhere_than_where_the_log_ends(tmp_path: Path, after: int) -> None:
    apply(items(tmp_path), -1, [upsert(0, 1, 1), upsert(4, 1, 2)])  # A compacted topic has gaps.
    assert apply(items(tmp_path), after, [upsert(after + 1, 1, 3)]) == 0
    assert apply(items(tmp_path), 4, [upsert(5, 1, 4)]) == 1
    assert [one.features and one.features["year"] for one in _changes(ItemLog(str(tmp_path)))] == [1.0, 2.0, 4.0]


def test_a_reader_that_stands_before_the_end_of_the_log_takes_nothing_again(tmp_path: Path) -> None:
    """As one does whose partition was taken away and came back while the log was being written."""
    process, log = items(tmp_path), ItemLog(str(tmp_path))
    records = [upsert(0, 5, 1990), upsert(1, 5, 1991)]
    assert apply(process, -1, records) == 2
    log.append([ItemChange(item_id=5, features={"year": 2020.0})])
    assert apply(process, 1, records) == apply(process, 1, records[:1]) == 0
    assert [change.features["year"] for change in _changes(log) if change.features] == [1990, 1991, 2020]
    assert log.offset("items/0") == 1
