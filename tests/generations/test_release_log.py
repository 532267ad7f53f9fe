"""The release log on both stores: one order, no edits, one winner."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from pagoda.append_log.records import Draft
from pagoda.append_log.store import FolderStore, RecordStore, open_store
from pagoda.errors import ConfigError, ConflictError, IntegrityError, UnavailableError
from pagoda.generations.release_log import ReleaseLog
from tests.registry.worlds import Memory


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "log")
    return f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}"


def test_records_are_numbered_and_read_back_in_order(url: str) -> None:
    log = ReleaseLog(url)
    written = [log.append("rollout.note", {"step": step}) for step in range(5)]
    assert [record.number for record in written] == [1, 2, 3, 4, 5]
    assert ReleaseLog(url).records() == written
    assert ReleaseLog(url).records(after=3) == written[3:]
    assert ReleaseLog(url).records(after=5) == []


def test_an_append_after_an_outdated_head_changes_nothing(url: str) -> None:
    log = ReleaseLog(url)
    first = log.append("rollout.note", {}, expected_head=0)
    with pytest.raises(ConflictError, match="expected 0"):
        ReleaseLog(url).append("rollout.note", {}, expected_head=0)
    assert log.records() == [first]


def test_a_writer_with_an_old_view_loses_the_race(url: str) -> None:
    behind, ahead = ReleaseLog(url), ReleaseLog(url)
    behind.state()
    ahead.append("rollout.note", {"by": "ahead"})
    seen: list[int] = []

    def decide(state: object) -> Draft | None:
        seen.append(len(ReleaseLog(url).records()))
        if len(seen) == 1:
            ahead.append("rollout.note", {"by": "ahead again"})
        return Draft(kind="rollout.note", body={"by": "behind"})

    record = behind.commit(decide)
    assert record is not None and record.number == 3
    assert seen == [1, 2]  # It decided anew after it had lost.


def test_of_many_writers_at_once_each_record_has_one(url: str) -> None:
    def write(name: int) -> None:
        log = ReleaseLog(url)
        for turn in range(3):
            log.append("rollout.note", {"by": name, "turn": turn})

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = ReleaseLog(url).records()
    assert [record.number for record in records] == list(range(1, 13))
    for name in range(4):
        assert [r.body["turn"] for r in records if r.body["by"] == name] == list(range(3))


class _AnswerLost:
    """A store whose first write succeeds, but is tried again by the client library as if it had not."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def put(self, name: str, content: bytes) -> None:
        self._store.put(name, content)
        self._store.put(name, content)

    def read(self, names: Sequence[str]) -> list[bytes]:
        return self._store.read(names)


def test_a_writer_whose_answer_was_lost_recognises_its_record(tmp_path: Path) -> None:
    log = ReleaseLog("", store=_AnswerLost(FolderStore(tmp_path)))
    assert log.append("rollout.note", {"once": True}).number == 1
    assert len(log.records()) == 1


def test_following_costs_one_probe_and_a_long_log_few() -> None:
    store = Memory()
    writer = ReleaseLog("", store=store)
    for turn in range(2010):
        writer.append("rollout.note", {"turn": turn})
    store.reads = 0
    reader = ReleaseLog("", store=store)
    assert [r.body["turn"] for r in reader.state().others] == list(range(2010))
    assert store.reads < 10
    store.reads = 0
    assert reader.state().head == 2010
    assert store.reads == 1
    assert [r.number for r in reader.records(after=1990)] == list(range(1991, 2011))


def test_a_record_that_contradicts_the_log_is_not_written(url: str) -> None:
    log = ReleaseLog(url)
    with pytest.raises(IntegrityError, match="generation g9 is unknown"):
        log.append("released", {"arms": {"stable": "g9"}})
    assert log.records() == []


@pytest.mark.parametrize("content", [b"", b'{"number": 1', b'{"number": 2, "kind": "x"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "00000001.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"00000001\.json"):
        ReleaseLog(str(tmp_path)).state()


def test_a_log_that_cannot_be_read_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    with pytest.raises(UnavailableError, match=f"^{tmp_path}/log: cannot "):
        ReleaseLog(str(tmp_path / "log")).append("rollout.note", {})


def test_a_dead_object_store_is_named_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(UnavailableError, match=r"s3://bucket/log.*127\.0\.0\.1:9"):
        ReleaseLog("s3://bucket/log").state()


def test_other_schemes_are_refused() -> None:
    with pytest.raises(ConfigError, match="ftp://"):
        open_store("ftp://host/log")
