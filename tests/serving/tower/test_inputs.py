"""What the tower is told of a user by a request is what training makes of the same facts in tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.data.dataset import Dataset
from pagoda.data.history.histories import Histories, kinds_of
from pagoda.data.history.history_state import HistoryState
from pagoda.data.spec import Categorical, FeatureSpec, History, PastText, Text, TimeOf
from pagoda.data.window import Window, from_us, to_us
from pagoda.errors import RequestError
from pagoda.model.encoder import Encoder
from pagoda.model.past_texts import past_texts
from pagoda.model.table_inputs import no_histories
from pagoda.model.user_moments import user_moments
from serving.events.bodies import SentEvent
from serving.events.rules import EventRules, Times
from serving.http.features import refuse_told
from serving.tower.bodies import Instance, parse
from serving.tower.inputs import InputReader
from serving.users.recent import RecentReader
from tests.data.folders import interaction, moment, write_dataset

TOLD = FeatureSpec(history=History(length=3, events=("click", "like", "purchase"), embed_event=True))
CLOCK_CHANGES = datetime(2024, 10, 27, 1, tzinfo=UTC)
zones = st.none() | st.sampled_from(["Europe/Berlin", "Pacific/Auckland", "no zone"])


@settings(max_examples=25)
@given(
    st.lists(zones, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.integers(-300, 300)), min_size=1, max_size=5),
)
def test_a_profiles_zone_is_read_from_the_users_table_as_from_a_request(
    homes: list[str | None], asked: list[tuple[int, int]]
) -> None:
    spec = FeatureSpec(
        history=None,
        features=(
            Categorical(name="home", tower="user"),
            TimeOf(name="hour", part="hour", zone_feature="home"),
            TimeOf(name="month", part="month", zone_feature="home"),
        ),
    )
    moments = [CLOCK_CHANGES + timedelta(minutes=minutes) for _, minutes in asked]
    times_us, user_ids = np.array([to_us(moment) for moment in moments]), np.array([user for user, _ in asked])
    users = [{"user_id": number, "home": home} for number, home in enumerate(homes)]
    with TemporaryDirectory() as folder:
        dataset = Dataset.open(write_dataset(Path(folder) / "d", users=users, spec=spec))
        encoder = Encoder.fit(spec, dataset.users(), dataset.items())
        context = pa.table({"timestamp": times_us})
        told = user_moments(
            dataset, encoder, user_ids, times_us, histories=no_histories(len(asked)), context=context
        ).keys(np.arange(len(asked)))
    given_homes = dict(enumerate(homes))
    requests = [
        Instance(user_id=user, timestamp=at, profile={"home": given_homes.get(user)})
        for user, at in zip(user_ids.tolist(), times_us.tolist(), strict=True)
    ]
    read = InputReader(encoder).read(requests, 0)
    for name in ("home", "hour", "month"):
        np.testing.assert_array_equal(told.features[name], read.features[name])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(TOLD.history_events)), max_size=8))
def test_which_event_each_was_is_read_from_the_log_as_from_a_request(rows: list[tuple[int, int, str]]) -> None:
    rows = sorted(rows, key=lambda row: row[1])
    items, times = (np.array([row[place] for row in rows], np.int64) for place in (0, 1))
    state, now = HistoryState(3, kinds=True), np.array([10])
    state.push(
        np.ones(len(rows), np.int64), items, times, kinds_of(pa.array([row[2] for row in rows], pa.string()), TOLD)
    )
    with TemporaryDirectory() as folder:
        dataset = Dataset.open(write_dataset(Path(folder) / "d", spec=TOLD))
        moments = user_moments(
            dataset,
            Encoder(TOLD),
            np.array([1]),
            now,
            histories=state.read(np.array([1]), now),
            context=pa.table({"timestamp": now}),
        )
    told = moments.keys(np.array([0]))
    history = [{"item_id": item, "timestamp": at, "event": event} for item, at, event in rows]
    body = orjson.dumps({"user_id": 1, "timestamp": 10, "history": history})
    read = InputReader(Encoder(TOLD)).read(parse(body).request.instances, 0)
    for name in ("history_items", "history_mask", "history_age", "history_kinds"):
        np.testing.assert_array_equal(getattr(told, name), getattr(read, name))


def test_an_event_that_nobody_names_is_an_unknown_one() -> None:
    history = ({"item_id": 1, "timestamp": 5}, {"item_id": 2, "timestamp": 4, "event": "like"})
    asked = [Instance(user_id=1, timestamp=9, history=history), Instance(user_id=1, timestamp=9, history=history[:1])]
    read = InputReader(Encoder(TOLD)).read(asked, 0)
    assert read.history_kinds is not None
    assert (read.history_items.tolist(), read.history_kinds.tolist()) == (
        [[0, 2, 1], [0, 0, 1]],
        [[0, 2, 0], [0, 0, 0]],
    )


SAYING = FeatureSpec(
    events=("search",),
    history=History(length=4, events=("search", "like")),
    features=(
        Text(name="query", tower="user", source="context"),
        PastText(name="searches", of="query", last=2, hours=1),
    ),
)
MINUTE_US = 60_000_000
START_US = to_us(moment("10:00"))
said_events = st.tuples(
    st.integers(0, 2),
    st.integers(0, 150),
    st.sampled_from(["search", "like", "click"]),
    st.none() | st.sampled_from(["", "red shoes", "ä: b@c", "long " * 60]),
)


def histories_of(rows: list[dict[str, Any]], user_ids: np.ndarray, moments_us: np.ndarray) -> Histories:
    """Of each user the last four events that enter histories, of `rows` in time order, before each moment."""
    entering = [(row["user_id"], to_us(row["timestamp"])) for row in rows if row["event"] in ("search", "like")]
    past = [
        [at for user, at in entering if user == asked and at < moment_us][-4:]
        for asked, moment_us in zip(user_ids.tolist(), moments_us.tolist(), strict=True)
    ]
    times_us, ends = np.array(list(chain.from_iterable(past)), np.int64), np.cumsum([len(each) for each in past])
    return Histories(4, np.zeros_like(times_us), times_us, ends - [len(each) for each in past], ends)


@settings(max_examples=40)
@given(
    st.lists(said_events, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), min_size=1, max_size=6),
)
def test_past_texts_are_read_from_the_log_as_from_the_online_store_and_from_a_request(
    events: list[tuple[int, int, str, str | None]], asked: list[tuple[int, int]]
) -> None:
    """However many of them, of whatever age: the last events of the history before the moment count."""
    events = sorted(events, key=lambda event: event[1])
    rows = [
        interaction(from_us(START_US + at * MINUTE_US), user, 10, event) | {"query": text}
        for user, at, event, text in events
    ]
    user_ids, times_us = (np.array(column) for column in zip(*asked, strict=True))
    times_us = START_US + times_us * MINUTE_US
    with TemporaryDirectory() as folder:
        dataset = Dataset.open(write_dataset(Path(folder) / "d", spec=SAYING, parts=[("date=2024-05-01", rows)]))
        context = pa.table({"query": pa.array(["now"] * len(asked))})
        told = user_moments(
            dataset,
            Encoder(SAYING),
            user_ids,
            times_us,
            histories=histories_of(rows, user_ids, times_us),
            context=context,
        ).keys(np.arange(len(asked)))
    rules = EventRules(SAYING, Times(late_us=10**18))
    entries: dict[int, list[bytes]] = {user: [] for user in range(4)}
    for row in rows:
        sent = SentEvent(
            user_id=row["user_id"], item_id=10, event=row["event"], timestamp=to_us(row["timestamp"]),
            context={"query": row["query"]},
        )  # fmt: skip
        if entry := rules.accept(sent, "", START_US + 10**10).recent:
            entries[sent.user_id].append(entry.encode())
    stored = {user: RecentReader(SAYING).read(kept) for user, kept in entries.items()}
    requests = [
        {"user_id": user, "timestamp": at, "context": {"query": "now"}, "history": stored[user].rows()}
        for user, at in zip(user_ids.tolist(), times_us.tolist(), strict=True)
    ]
    read = InputReader(Encoder(SAYING)).read(parse(orjson.dumps({"instances": requests})).request.instances, 0)
    for name in ("query", "searches"):
        np.testing.assert_array_equal(told.features[name], read.features[name])


def test_no_more_of_the_log_is_read_than_texts_may_come_from(tmp_path: Path) -> None:
    class Watched(Dataset):
        windows: ClassVar[list[Window | None]] = []

        def batches(self, window: Window | None = None, **options: Any) -> Iterator[pa.RecordBatch]:
            self.windows.append(window)
            return super().batches(window, **options)

    rows = [interaction(from_us(START_US + at * MINUTE_US), 1, 10, "search") | {"query": "x"} for at in range(200)]
    dataset = Watched.open(write_dataset(tmp_path / "d", spec=SAYING, parts=[("date=2024-05-01", rows)]))
    users, times_us = np.array([1, 2]), START_US + np.array([90, 100]) * MINUTE_US
    feature = SAYING.past_text
    histories = histories_of(rows, users, times_us)
    assert feature is not None and past_texts(dataset, feature, histories, users, times_us).to_pylist() == ["x x", None]
    nobody = histories.take(users[:0])
    assert past_texts(dataset, feature, nobody, users[:0], times_us[:0]).to_pylist() == []
    read = Window(start=from_us(START_US + 30 * MINUTE_US), end=from_us(START_US + 100 * MINUTE_US))
    assert dataset.windows == [read]


def test_a_history_that_was_frozen_or_begins_anew_says_no_more_than_it_has(tmp_path: Path) -> None:
    said = {10: "before", 20: "first", 30: "last", **dict.fromkeys(range(40, 44), "after")}
    rows = [
        interaction(from_us(START_US + at * MINUTE_US), 1, 10, "search") | {"query": text} for at, text in said.items()
    ]
    dataset = Dataset.open(write_dataset(tmp_path / "d", spec=SAYING, parts=[("date=2024-05-01", rows)]))
    user, now = np.array([1]), START_US + np.array([50]) * MINUTE_US
    frozen = histories_of(rows[1:3], user, now)
    assert SAYING.past_text is not None
    assert past_texts(dataset, SAYING.past_text, frozen, user, now).to_pylist() == ["last first"]
    anew = histories_of(rows[6:], user, now)
    assert past_texts(dataset, SAYING.past_text, anew, user, now).to_pylist() == ["after"]


def test_the_newest_texts_count_and_the_old_are_forgotten() -> None:
    history = [("third", 3), ("first", 1), ("", 4), ("second", 2), ("yesterday", -90), (None, 5)]
    past = tuple(
        {"item_id": 1, "timestamp": START_US + at * MINUTE_US, **({} if text is None else {"text": text})}
        for text, at in history
    )
    encoder = Encoder(SAYING.model_copy(update={"history": History(length=9, events=("search",))}))
    for minutes, expected in ((6, "third second"), (62, "third second"), (63, "third"), (2, "first"), (64, None)):
        asked = Instance(user_id=1, timestamp=START_US + minutes * MINUTE_US, history=past)
        found = InputReader(encoder).read([asked], 0).features["searches"]
        np.testing.assert_array_equal(found, encoder.encode_rows("user", [{"searches": expected}])["searches"])


def test_a_text_that_no_feature_reads_is_refused() -> None:
    asked = Instance(user_id=1, timestamp=9, history=({"item_id": 2, "timestamp": 4, "text": "shoes"},))
    with pytest.raises(RequestError, match=r"history.text: this generation has no feature of past texts"):
        InputReader(Encoder(FeatureSpec())).read([asked], 0)


@pytest.mark.parametrize(
    ("spec", "event", "says"),
    [
        (TOLD, "impression", r"history.event: must be one of \['click', 'like', 'purchase'\] \(got 'impression'\)"),
        (FeatureSpec(), "click", r"history.event: this generation's histories do not say it \(history.embed_event\)"),
    ],
)
def test_an_event_that_histories_cannot_say_is_refused(spec: FeatureSpec, event: str, says: str) -> None:
    asked = Instance(user_id=1, timestamp=9, history=({"item_id": 2, "timestamp": 4, "event": event},))
    with pytest.raises(RequestError, match=says):
        InputReader(Encoder(spec)).read([asked], 0)
    with pytest.raises(RequestError, match=says):
        refuse_told(spec, asked.history.events, ())
