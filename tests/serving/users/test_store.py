"""The online store on a real Redis: as of a moment, replaced and not added to, one round trip to read."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec, History, PastText, Text
from pagoda.data.window import from_us, to_us
from pagoda.errors import IntegrityError, PagodaError, UnavailableError
from serving.http.fields import PastItems
from serving.users.keys import SEEN_LENGTH, profile_key, recent_key, seen_key, vector_key
from serving.users.loading import load_store
from serving.users.online_store import KeptVectors, OnlineStore
from serving.users.recent import RecentReader, recent_entry
from tests.data.folders import interaction
from tests.data.folders import moment as at
from tests.data.folders import write_dataset as write_folder
from tests.redis_databases import database
from tests.serving.installation import HOUR_US, write_dataset
from tests.serving.torchserve import free_port
from tests.serving.worlds import LENGTH, NOW_US, USERS, World, make_world

pytestmark = pytest.mark.integration


@pytest.fixture(params=["int64", "string"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """A world with either type of IDs."""
    made = make_world(tmp_path / "version", tmp_path / "tables", id_type=request.param)
    write_dataset(made, tmp_path / "dataset")
    return made


@pytest.fixture
def url(redis_url: str) -> str:
    """An empty database of the shared Redis."""
    return database(redis_url, 9)


def clicks(dataset: Dataset, until_us: int) -> dict[Any, list[tuple[Any, int]]]:
    """Each user's clicks before a moment, oldest first."""
    suffix = "key" if dataset.spec.id_type == "string" else "id"
    found = defaultdict(list)
    for batch in dataset.batches(events=["click"], columns=[f"user_{suffix}", f"item_{suffix}", "timestamp"]):
        times = batch.column("timestamp").cast(pa.int64()).to_pylist()
        for user, item, moment in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), times, strict=True):
            if moment < until_us:
                found[user].append((item, moment))
    return found


async def read(url: str, users: list[Any], spec: FeatureSpec) -> list[Any]:
    """What the store says of users."""
    store = OnlineStore(url)
    try:
        return await store.read([(user, True) for user in users], spec)
    finally:
        await store.close()


async def test_it_holds_what_was_known_at_the_moment(world: World, url: str, tmp_path: Path) -> None:
    dataset = Dataset.open(tmp_path / "dataset")
    for until_us in (NOW_US, NOW_US - 100 * HOUR_US, NOW_US):
        load_store(dataset, from_us(until_us), url)
        load_store(dataset, from_us(until_us), url)
        expected = clicks(dataset, until_us)
        users = [world.user(number) for number in range(USERS)]
        for user, stored in zip(users, await read(url, users, world.spec), strict=True):
            past = expected[user]
            assert list(zip(stored.recent.ids, stored.recent.timestamps, strict=True)) == past[-LENGTH:]
            assert set(stored.seen) == {item for item, _ in past}


async def test_a_verb_loads_it(world: World, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGODA_REDIS__URL", url)
    command = ["users", "load", "--data", str(tmp_path / "dataset"), "--home", str(tmp_path / "home")]
    dataset, users = Dataset.open(tmp_path / "dataset"), [world.user(number) for number in range(USERS)]
    for until_us, options in ((None, []), (NOW_US, ["--until", from_us(NOW_US).isoformat()])):
        expected = clicks(dataset, until_us or to_us(dataset.span().end))
        for _ in range(2):
            result = CliRunner().invoke(app, [*command, *options])
            assert result.exit_code == 0, result.output
            assert f"{USERS} profiles, and what {len(expected)} users did" in result.stdout
        for user, stored in zip(users, await read(url, users, world.spec), strict=True):
            assert list(zip(stored.recent.ids, stored.recent.timestamps, strict=True)) == expected[user][-LENGTH:]
            assert stored.profile


@pytest.mark.parametrize(
    ("store", "options", "says"),
    [
        ("", "--data dataset", r"ConfigError: users: set redis\.url \(`pagoda up` does"),
        ("redis://127.0.0.1:{port}/0", "--data dataset", "UnavailableError: online store at redis://127"),
        ("redis://127.0.0.1:{port}/0", "--data absent", "DataError: .*absent"),
        ("redis://127.0.0.1:{port}/0", "--data dataset --until 1998-01-01", "ConfigError: --until .* has no zone"),
    ],
)
def test_the_verb_says_what_is_missing(
    store: str, options: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(make_world(tmp_path / "version", tmp_path / "tables"), tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAGODA_REDIS__URL", store.format(port=free_port()))
    with pytest.raises(PagodaError) as error:
        CliRunner().invoke(app, ["users", "load", *options.split(), "--home", "home"], catch_exceptions=False)
    assert re.search(says, f"{type(error.value).__name__}: {error.value}")


TOLD = FeatureSpec(history=History(length=4, events=("click", "see: more"), embed_event=True), events=("see: more",))


async def test_what_was_written_before_events_were_told_is_read_beside_what_comes_after(url: str) -> None:
    entries = ["5:7", recent_entry(6, 8, "see: more"), recent_entry(7, 9, "click"), recent_entry(8, 1, "gone")]
    redis.Redis.from_url(url).rpush(recent_key(1), *entries)
    (stored,) = await read(url, [1], TOLD)
    assert stored.recent == PastItems((7, 8, 9, 1), (5, 6, 7, 8), (None, "see: more", "click", None))
    assert stored.recent.rows()[:2] == [
        {"item_id": 7, "timestamp": 5}, {"item_id": 8, "timestamp": 6, "event": "see: more"}
    ]  # fmt: skip
    (plain,) = await read(url, [1], FeatureSpec(history=History(length=4)))
    assert plain.recent == PastItems((7, 8, 9, 1), (5, 6, 7, 8))


SAYING = (Text(name="query", tower="user", source="context"), PastText(name="searches", of="query"))


@given(st.text(min_size=1), st.text(min_size=1, max_size=9), st.text(max_size=9), st.integers(0, 10**16))
@example("a:b", "c@d:e", "%3A: @%25", 5)
def test_any_item_event_and_text_come_back_as_they_were(item: str, event: str, text: str, moment: int) -> None:
    history = History(events=("click", event), embed_event=True)
    plain, entry = FeatureSpec(id_type="string"), recent_entry(moment, item, event, text).encode()
    told = plain.model_copy(update={"history": history})
    said = plain.model_copy(update={"features": SAYING})
    assert RecentReader(told).read([entry]) == PastItems((item,), (moment,), (event,))
    assert RecentReader(said).read([entry]) == PastItems((item,), (moment,), (), (text or None,))
    assert RecentReader(plain).read([entry, b"5:x"]) == PastItems((item, "x"), (moment, 5))
    silent = recent_entry(moment, item, None, "more").encode()
    assert RecentReader(said).read([silent, b"5:x"]).texts == ("more", None)


@pytest.mark.parametrize("letter", ["x", "鞋", "😀", " ", "@"])
def test_an_entry_takes_no_more_than_what_counts_of_a_text(letter: str) -> None:
    entry = recent_entry(5, 7, None, letter * 10_000).encode()
    assert len(entry) <= len(b"5@@:7") + 200 * len(letter.encode())


async def test_a_load_keeps_what_was_said(url: str, tmp_path: Path) -> None:
    spec = FeatureSpec(features=SAYING)
    log = [interaction(at("10:00")) | {"query": "red: shoes"}, interaction(at("11:00"))]
    dataset = Dataset.open(write_folder(tmp_path / "d", spec=spec, parts=[("date=2024-05-01", log)]))
    load_store(dataset, datetime(2024, 5, 2, tzinfo=UTC), url)
    (stored,) = await read(url, [1], spec)
    assert stored.recent.texts == ("red: shoes", None)


async def test_a_load_tells_events_where_histories_do(url: str, tmp_path: Path) -> None:
    log = [interaction(at("10:00")), interaction(at("11:00"), event="see: more", item=11)]
    dataset = Dataset.open(write_folder(tmp_path / "d", spec=TOLD, parts=[("date=2024-05-01", log)]))
    load_store(dataset, datetime(2024, 5, 2, tzinfo=UTC), url)
    (stored,) = await read(url, [1], TOLD)
    assert (stored.recent.ids, stored.recent.events) == ((10, 11), ("click", "see: more"))


async def test_profiles_keep_their_types(world: World, url: str, tmp_path: Path) -> None:
    report = load_store(Dataset.open(tmp_path / "dataset"), from_us(NOW_US), url)
    assert report.profiles == USERS
    first, second = await read(url, [world.user(0), world.user(1)], world.spec)
    assert first.profile == {"age": 15.0, "gender": "F"}
    assert second.profile == {"age": 16.0}


async def test_unknown_users_are_empty(world: World, url: str) -> None:
    (stored,) = await read(url, [world.user(999)], world.spec)
    assert (stored.profile, stored.recent, stored.seen) == ({}, PastItems(), ())


async def test_only_what_is_wanted_is_read(url: str) -> None:
    client = redis.Redis.from_url(url)
    client.rpush(recent_key(1), "5:7")
    client.zadd(seen_key(1), {"7": 5})
    store = OnlineStore(url)
    without, with_seen = await store.read([(1, False), (1, True)], FeatureSpec(history=None))
    assert (without.recent, without.seen, with_seen.seen) == (PastItems(), (), (7,))
    await store.close()


async def test_a_kept_vector_is_outdated_by_what_happens_afterwards(url: str) -> None:
    client, store, spec = redis.Redis.from_url(url), OnlineStore(url), FeatureSpec(history=History(length=3))
    client.rpush(recent_key(1), "5:7")
    (before,) = await store.read([(1, False)], spec, "g3")
    assert before.vectors is None
    await store.keep("g3", [(1, KeptVectors(before.basis, ([1.0, 0.5],)))], seconds=60)
    (same,), (other,) = [await store.read([(1, False)], spec, generation) for generation in ("g3", "g4")]
    assert same.vectors == KeptVectors(same.basis, ([1.0, 0.5],))
    assert other.vectors is None
    assert 0 < client.ttl(vector_key("g3", 1)) <= 60
    client.rpush(recent_key(1), "6:8")
    (after,) = await store.read([(1, False)], spec, "g3")
    assert after.vectors is not None
    assert after.vectors.basis != after.basis
    await store.close()


async def test_a_kept_vector_goes_when_its_time_is_over_whatever_other_generations_keep(url: str) -> None:
    client, store = redis.Redis.from_url(url), OnlineStore(url)
    await store.keep("g3", [(1, KeptVectors(5, ([1.0],)))], seconds=60)
    await store.keep("g3.1", [(1, KeptVectors(5, ([0.5],)))], seconds=600)
    assert 0 < client.ttl(vector_key("g3", 1)) <= 60
    await store.close()


async def test_damage_is_told_from_absence(url: str) -> None:
    client = redis.Redis.from_url(url)
    for user, entries in enumerate((["no time:no item"], ["5:7", "6"], ["6"], ["-5:7"]), 10):
        client.rpush(recent_key(user), *entries)
        with pytest.raises(IntegrityError, match="of a user is damaged"):
            await read(url, [user], FeatureSpec(history=History(length=3)))
    client.set(profile_key(2), "[30]")
    with pytest.raises(IntegrityError, match="of a user is damaged"):
        await read(url, [2], FeatureSpec())
    with pytest.raises(UnavailableError, match="online store"):
        await read(f"redis://127.0.0.1:{free_port()}/0", [1], FeatureSpec())


def test_what_is_kept_is_bounded(url: str, tmp_path: Path) -> None:
    world = make_world(tmp_path / "version", tmp_path / "tables")
    write_dataset(world, tmp_path / "dataset")
    client = redis.Redis.from_url(url)
    client.zadd(seen_key(3), {str(item): item for item in range(10_000, 12_000)})
    load_store(Dataset.open(tmp_path / "dataset"), from_us(NOW_US), url)
    assert client.zcard(seen_key(3)) < SEEN_LENGTH
