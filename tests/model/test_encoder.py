"""Training and serving encode alike, indices never move, and what a request gets wrong is named."""

from __future__ import annotations

import math
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pagoda.data.layout import column_type
from pagoda.data.spec import (
    Categorical,
    Dense,
    Feature,
    FeatureSpec,
    MultiValued,
    Numeric,
    PastText,
    Text,
    TimeOf,
    parse_spec,
)
from pagoda.data.window import to_us
from pagoda.errors import ConfigError, DataError, IntegrityError, RequestError
from pagoda.model.encoder import Encoder, Field
from pagoda.model.features.feature_embeddings import FeatureEmbeddings
from pagoda.model.features.numeric import NumericCodec

words = st.sampled_from(["", "a", "b", "ä", "7", "unseen"])
numbers = st.one_of(st.sampled_from([0.0, 1.0, 2.5, math.nan, math.inf, -math.inf]), st.floats(-5, 5, width=32))
FEATURES: dict[str, tuple[list[Feature], st.SearchStrategy[Any]]] = {
    "categorical": (
        [Categorical(name="c", tower="user"), Categorical(name="c", tower="user", default="b")],
        words,
    ),
    "multi": (
        [MultiValued(name="m", tower="user", max_values=2), MultiValued(name="m", tower="user", default=("a", "x"))],
        st.lists(st.one_of(st.none(), words), max_size=4),
    ),
    "text": (
        [Text(name="t", tower="user", max_values=5), Text(name="t", tower="user", letters=2, buckets=7, default="Ab")],
        st.one_of(st.text(max_size=12), st.sampled_from(["Toy Story (1995)", "#", " a # b ", "ÉÉÉ", "İß"])),
    ),
    "past_text": (
        [PastText(name="p", of="q", max_values=5), PastText(name="p", of="q", letters=2, default="Ab")],
        st.text(max_size=12),
    ),
    "numeric": (
        [Numeric(name="n", tower="user", edges=(0, 1, 2.5)), Numeric(name="n", tower="user", edges=(1,), default=1)],
        numbers,
    ),
    "dense": ([Dense(name="d", tower="user", length=2)], st.lists(numbers, min_size=2, max_size=2)),
    "time": ([TimeOf(name=part, part=part) for part in ("hour", "weekday", "hour_of_week", "month")], st.none()),
}


def test_every_kind_of_feature_is_tried() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(Feature)[0])}
    assert FEATURES.keys() == kinds


def table_of(features: list[Feature], rows: list[dict[str, Any]]) -> pa.Table:
    columns = [feature for feature in features if feature.kind != "time"]
    arrays = {f.name: pa.array([row.get(f.name) for row in rows], column_type(f)) for f in columns}
    return pa.table({"user_id": pa.array(np.arange(len(rows))), **arrays})


@st.composite
def cases(draw: st.DrawFn) -> tuple[FeatureSpec, list[dict[str, Any]], list[int]]:
    chosen = draw(st.lists(st.sampled_from(sorted(FEATURES)), unique=True))
    features = [draw(st.sampled_from(FEATURES[kind][0])) for kind in chosen]
    row = st.fixed_dictionaries(
        {}, optional={f.name: st.one_of(st.none(), FEATURES[f.kind][1]) for f in features if f.kind != "time"}
    )
    rows = draw(st.lists(row, min_size=1, max_size=6))
    times = draw(st.lists(st.integers(-(10**15), 2 * 10**15), min_size=len(rows), max_size=len(rows)))
    said = Text(name="q", tower="user", source="context")
    return FeatureSpec(features=(*features, said)), rows, times


@given(cases())
def test_a_request_is_encoded_as_a_table_of_the_same_values(
    case: tuple[FeatureSpec, list[dict[str, Any]], list[int]],
) -> None:
    spec, rows, times = case
    table = table_of(list(spec.features), rows)
    encoder = Encoder.fit(spec, table.slice(0, 3), pa.table({}))
    for moments in (None, np.array(times, np.int64)):
        from_table = encoder.encode_table("user", table, moments)
        from_rows = encoder.encode_rows("user", rows, moments)
        assert from_table.keys() == from_rows.keys() == {f.name for f in spec.features}
        for field in encoder.fields("user"):
            assert from_table[field.name].dtype == from_rows[field.name].dtype
            assert from_table[field.name].flags.writeable
            np.testing.assert_array_equal(from_table[field.name], from_rows[field.name])
            if field.form != "dense":
                assert from_rows[field.name].max() < field.size


def test_buckets_vocabulary_padding_and_hours() -> None:
    spec = FeatureSpec(
        features=(
            Numeric(name="age", tower="user", edges=(18, 30)),
            Categorical(name="job", tower="user"),
            MultiValued(name="likes", tower="user", max_values=3),
            TimeOf(name="now", part="hour_of_week"),
        )
    )
    users = pa.table(
        {"age": [17.0, 18.0, 30.0, None], "job": ["b", "a", None, "b"], "likes": [["x"], ["y", "x"], [], None]}
    )
    encoder = Encoder.fit(spec, users, pa.table({}))
    monday_one_o_clock = np.full(4, (4 * 24 + 1) * 3_600_000_000)
    encoded = encoder.encode_table("user", users, monday_one_o_clock)
    assert encoded["age"].tolist() == [1, 2, 3, 0]
    assert encoded["job"].tolist() == [2, 1, 0, 2]
    assert encoded["likes"].tolist() == [[1, -1, -1], [2, 1, -1], [-1, -1, -1], [-1, -1, -1]]
    assert encoded["now"].tolist() == [2, 2, 2, 2]
    assert encoder.fields("user") == [
        Field("age", "index", 4), Field("job", "index", 3), Field("likes", "bag", 3), Field("now", "index", 169)
    ]  # fmt: skip


zones = st.sampled_from(
    [None, "", "Mars/Olympus", "Factory", "localtime", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"]
)
around_changes_of_clocks = st.sampled_from(
    ["2024-03-31T01:00", "2024-10-27T01:00", "2024-03-10T07:00", "2024-11-03T06:00", "2023-12-31T23:00"]
)
moments = st.builds(
    lambda near, minutes: datetime.fromisoformat(near).replace(tzinfo=UTC) + timedelta(minutes=minutes),
    around_changes_of_clocks,
    st.integers(-600, 600),
)
PARTS = {"hour": 24, "weekday": 7, "hour_of_week": 168, "month": 12}


def shown(moment: datetime, zone: str) -> list[int]:
    """All parts of a moment, as a clock of the standard library shows them."""
    at = moment.astimezone(ZoneInfo(zone))
    return [at.hour + 1, at.weekday() + 1, 24 * at.weekday() + at.hour + 1, at.month]


@given(st.lists(st.tuples(zones, moments), min_size=1, max_size=8), st.sampled_from(["", "Asia/Tokyo"]))
def test_a_users_own_clock_is_read_alike_from_tables_and_requests_when_clocks_change(
    asked: list[tuple[str | None, datetime]], default: str
) -> None:
    parts = tuple(TimeOf(name=part, part=part, zone_feature="zone") for part in PARTS)
    spec = FeatureSpec(features=(Categorical(name="zone", tower="user", default=default), *parts))
    encoder, times_us = Encoder(spec), np.array([to_us(moment) for _, moment in asked])
    table = pa.table({"zone": pa.array([zone for zone, _ in asked], pa.string())})
    from_table = encoder.encode_table("user", table, times_us)
    from_rows = encoder.encode_rows("user", [{"zone": zone} for zone, _ in asked], times_us)
    for row, (zone, moment) in enumerate(asked):
        clock = default if zone is None else zone
        known = clock in zoneinfo.available_timezones() - {"localtime", "Factory"}  # Neither is a place's.
        expected = shown(moment, clock if known else "UTC")
        assert [from_table[part][row] for part in PARTS] == expected
        assert [from_rows[part][row] for part in PARTS] == expected


@given(moments)
def test_one_zone_may_hold_for_everybody(moment: datetime) -> None:
    parts = tuple(TimeOf(name=part, part=part, zone="America/New_York") for part in PARTS)
    encoded = Encoder(FeatureSpec(features=parts)).encode_rows("user", [{}], np.array([to_us(moment)]))
    assert [encoded[part][0] for part in PARTS] == shown(moment, "America/New_York")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("zone: UTC, zone_feature: home", "zone 'UTC' and zone_feature 'home' contradict"),
        ("zone_feature: away", r"zone_feature 'away' is no categorical feature of the user tower \(those are \['home'"),
    ],
)
def test_a_zone_that_nobody_could_read_is_refused(declared: str, message: str) -> None:
    home = "{kind: categorical, name: home, tower: user}"
    text = f"features: [{home}, {{kind: time, name: hour, part: hour, {declared}}}]"
    with pytest.raises(ConfigError, match=message):
        parse_spec(text.encode(), "features.yaml")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("history: {embed_event: true}", "tells events apart, but 'click' alone enters the history; name several"),
        ("history: {events: [click, like, click], embed_event: true}", "'click' is named more than once; name it once"),
        (
            "history: {events: [click, like], embed_event: true}\n"
            "features: [{kind: categorical, name: history_event, tower: user}]",
            r"features \['history_event'\] have the names of Pagoda's own columns",
        ),
        (
            "features: [{kind: past_text, name: p, of: q}]",
            "feature 'p': of 'q' is no text feature of the user tower with",
        ),
        (
            "history: null\nfeatures: [{kind: past_text, name: p, of: q}]",
            "feature 'p': past texts are those of events of the history, which is null",
        ),
        (
            "features: [{kind: past_text, name: p, of: q}, {kind: past_text, name: r, of: q}]",
            r"features \['p', 'r'\]: declare one past_text at most",
        ),
    ],
)
def test_a_declaration_that_says_two_things_at_once_is_refused(declared: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_spec(declared.encode(), "features.yaml")


def test_a_zone_that_does_not_exist_encodes_nothing() -> None:
    with pytest.raises(DataError, match="feature 'hour': zone 'Europe/Berli' is none that this machine knows"):
        Encoder(FeatureSpec(features=(TimeOf(name="hour", part="hour", zone="Europe/Berli"),)))


def test_a_declaration_without_zones_is_written_as_before_there_were_any() -> None:
    declared = FeatureSpec(features=(TimeOf(name="hour", part="hour"),)).model_dump(mode="json")["features"]
    assert "zone" not in declared[0] and "zone_feature" not in declared[0]
    assert FeatureSpec().model_dump(mode="json")["history"] == {"length": 50, "events": None}


any_floats = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(any_floats, max_size=5), st.none() | any_floats, st.lists(any_floats, min_size=1, max_size=8))
def test_tables_and_requests_agree_over_any_edges_that_are_accepted(
    edges: list[float], default: float | None, values: list[float]
) -> None:
    try:
        feature = Numeric(name="n", tower="user", edges=tuple(edges), default=default)
    except ValidationError:
        finite = all(map(math.isfinite, [*edges, *([] if default is None else [default])]))
        assert not edges or not finite or any(not a < b for a, b in pairwise(edges))
        return
    codec, asked = NumericCodec(feature), [*values, *edges, math.nan]
    column = codec.column(pa.chunked_array([pa.array(asked, pa.float64())]))
    assert column.tolist() == codec.values(asked).tolist()


@pytest.mark.parametrize("edges", ["[.nan, 1]", "[0, .inf]", "[-.inf, 0]", "[2, 1]", "[1, 1]", "[0.0, -0.0]", "[]"])
def test_edges_that_are_no_order_are_refused(edges: str) -> None:
    with pytest.raises(ConfigError, match="must be finite, strictly increasing and not empty"):
        parse_spec(f"features: [{{kind: numeric, name: a, tower: user, edges: {edges}}}]".encode(), "features.yaml")


@pytest.mark.parametrize("name", ["type", "keys", "training", "a.b", "_modules"])
def test_a_feature_may_be_called_like_a_part_of_a_module(name: str) -> None:
    built = FeatureEmbeddings([Field(name, "index", 3), Field("other", "index", 3)], 2)
    one = {key: torch.tensor([1]) for key in (name, "other")}
    assert [tuple(found.shape) for found in built(one)] == [(1, 2), (1, 2)]
    assert "tables.other.weight" in built.state_dict()


def grams(text: str, letters: int, buckets: int = 1 << 40) -> list[int]:
    """All n-grams of a text, by its codec."""
    feature = Text(name="t", tower="item", letters=letters, buckets=buckets, max_values=200)
    encoded = Encoder(FeatureSpec(features=(feature,))).encode_rows("item", [{"t": text}])["t"][0]
    return [int(bucket) for bucket in encoded if bucket >= 0]


@given(st.lists(st.text("abcé1", min_size=1, max_size=6), max_size=4), st.integers(2, 4))
def test_text_is_the_letter_n_grams_of_its_words(words: list[str], letters: int) -> None:
    marked = [f"#{word}#" for word in words]
    written_out = [word[at : at + letters] for word in marked for at in range(len(word) - letters + 1)]
    found = grams(" - ".join(words).upper(), letters)
    assert len(found) == len(written_out)
    assert len(set(found)) == len(set(written_out)) == len(set(zip(found, written_out, strict=True)))
    assert all(bucket > 0 for bucket in found)


def test_text_leaves_out_marks_and_keeps_words_apart() -> None:
    assert grams("Story, Toy!", 3) == grams("story toy", 3)
    assert set(grams("Toy Story (1995)", 3)) == set(grams("1995", 3)) | set(grams("toy", 3)) | set(grams("story", 3))
    assert grams(" (!) ", 3) == grams("", 3) == []
    assert max(grams("some title of many words", 3, buckets=5)) <= 5


@given(st.lists(words, max_size=5), st.lists(words, max_size=5))
def test_indices_never_move(first: list[str], second: list[str]) -> None:
    spec = FeatureSpec(features=(Categorical(name="c", tower="item"),))
    one, two = (pa.table({"c": pa.array(column, pa.string())}) for column in (first, second))
    before = Encoder.fit(spec, pa.table({}), one)
    after = Encoder.fit(spec, pa.table({}), two, Encoder.from_json(before.to_json()))
    old, new = (encoder.encode_table("item", one)["c"] for encoder in (before, after))
    np.testing.assert_array_equal(old, new)
    assert (after.encode_table("item", two)["c"] > 0).tolist() == [word != "" for word in second]


def test_profile_and_context_can_be_encoded_apart() -> None:
    spec = FeatureSpec(
        features=(
            Categorical(name="job", tower="user"),
            Categorical(name="device", tower="user", source="context"),
            TimeOf(name="hour", part="hour"),
        )
    )
    encoder = Encoder.fit(spec, pa.table({"job": ["a"]}), pa.table({}))
    assert encoder.encode_table("user", pa.table({"job": ["a"]}), source="table").keys() == {"job"}
    assert encoder.encode_table("user", pa.table({"x": [1]}), np.zeros(1, np.int64), source="context").keys() == {
        "device", "hour"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"c": 1.5}, "feature 'c': got 1.5, expected a string or an integer"),
        ({"c": True}, "feature 'c': got True"),
        ({"m": "abc"}, "feature 'm': got 'abc', expected a list of strings"),
        ({"t": 1.5}, "feature 't': got 1.5, expected a string"),
        ({"n": "12"}, "feature 'n': got '12', expected a number"),
        ({"d": [1.0]}, "feature 'd': the value has 1 entries, expected 2"),
        ({"d": [1.0, "x"]}, "feature 'd': got 'x', expected a number"),
    ],
)
def test_a_wrong_request_is_named(row: dict[str, Any], message: str) -> None:
    kinds = ("categorical", "multi", "text", "numeric", "dense")
    spec = FeatureSpec(features=tuple(FEATURES[kind][0][0] for kind in kinds))
    with pytest.raises(RequestError, match=message):
        Encoder(spec).encode_rows("user", [row])


def test_wrong_vectors_specs_and_files_are_refused() -> None:
    spec = FeatureSpec(features=(Dense(name="d", tower="item", length=2),))
    with pytest.raises(DataError, match="feature 'd': row 1 has 3 entries, expected 2"):
        Encoder(spec).encode_table("item", pa.table({"d": pa.array([[1, 2], [1, 2, 3]], pa.list_(pa.float32()))}))
    with pytest.raises(DataError, match="declaration differs"):
        Encoder.fit(FeatureSpec(), pa.table({}), pa.table({}), Encoder(spec))
    with pytest.raises(IntegrityError, match="not an encoder"):
        Encoder.from_json("{}")
