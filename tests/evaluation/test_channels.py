"""Answers of several channels: each channel is told what a request would tell it, and is worth what it adds."""

from __future__ import annotations

import tempfile
from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pagoda.channels.merging import merged, shares_of
from pagoda.data.spec import Categorical, FeatureSpec, History
from pagoda.evaluation.channels.asking import MERGED, ask_mixture
from pagoda.evaluation.channels.known_users import KnownUsers
from pagoda.evaluation.evaluate import evaluate
from pagoda.evaluation.offline import ask
from pagoda.evaluation.ranking import StaticScorer
from pagoda.evaluation.relevance import Relevant
from pagoda.evaluation.rendering.tables import as_tables
from pagoda.evaluation.report import Report

from .channel_tables import TellingTable, mixture_of
from .worlds import HOUR, NotingTowers, OrderedTowers, hours, write_dataset

ITEMS = 12
KINDS = ("two_tower", "item_to_item", "popular")


EVENTS = st.lists(st.tuples(st.integers(1, 4), st.integers(100, 99 + ITEMS), st.integers(0, 50)), max_size=40)
LIST = st.lists(st.integers(95, 104 + ITEMS), unique=True)


@settings(max_examples=25)
@given(EVENTS, LIST, LIST, st.sampled_from(["quota", "rrf"]))
def test_every_list_is_what_a_request_would_get_and_leaves_out_what_users_had(
    log: list[tuple[int, int, int]], first: list[int], second: list[int], merging: str
) -> None:
    events = [(*event, "click") for event in sorted(log, key=lambda one: one[2])] + [(5, 100, 51, "click")]
    mixture = mixture_of({"item_to_item": lambda _: first, "popular": lambda _: second}, merging)
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "d", events, ITEMS, FeatureSpec(history=History(length=3)))
        asked = ask(dataset, hours(25, 60), protocol="each", limit=100, seed=0)
        found = ask_mixture(
            mixture,
            KnownUsers(dataset, asked.rows, asked.histories["live"]),
            StaticScorer(-np.arange(ITEMS, dtype=np.float32), len(asked.rows)),
            asked.catalogue,
            relevant=Relevant.single(asked.targets),
            excluded=asked.seen,
            at=[2, 5],
        )
    for row, (user, item, moment) in enumerate(
        zip(asked.rows.users, asked.rows.items, asked.rows.times_us, strict=True)
    ):
        had = [one for who, one, hour, _ in events if who == user and hour < moment // HOUR]
        shares = shares_of(mixture.channels, mixture.merging, len(had[-3:]))
        for one in found:
            sources = dict(zip(KINDS, (range(100, 100 + ITEMS), first, second), strict=True))
            lists = {
                kind: [i for i in items if 100 <= i < 100 + ITEMS and i not in had][: one.k]
                for kind, items in sources.items()
            }
            for kind in KINDS:
                rest = {other: items for other, items in lists.items() if other != kind}
                assert one.found[kind][row] == (item in lists[kind])
                assert one.without[kind][row] == (item in {m.item for m in merged(rest, shares, merging, one.k)})
            assert one.found[MERGED][row] == (item in {m.item for m in merged(lists, shares, merging, one.k)})


def test_channels_are_told_the_past_newest_first_the_profile_and_the_context(tmp_path: Path) -> None:
    spec = FeatureSpec(
        history=History(length=2),
        features=(Categorical(name="job", tower="user"), Categorical(name="place", tower="user", source="context")),
    )
    clicks = [(1, 100 + number, hour, "click") for number, hour in enumerate((0, 12, 24, 48))] + [(2, 104, 49, "click")]
    profiles = pa.table({"user_id": [1], "job": ["cook"]})
    dataset = write_dataset(tmp_path / "d", clicks, ITEMS, spec, profiles=profiles, place=list("abcde"))
    mixture = mixture_of({"item_to_item": lambda _: [], "popular": lambda _: []})
    evaluate(NotingTowers(ITEMS), dataset, hours(48, 60), mixture=mixture)
    table = mixture.tables["popular"]
    assert isinstance(table, TellingTable)
    first, second = table.told
    assert (first.items.tolist(), first.ages_days.tolist(), first.moment_us) == ([102, 101], [1.0, 1.5], 48 * HOUR)
    assert first.values == {"job": "cook", "place": "d"}
    assert (second.items.tolist(), second.ages_days.tolist()) == ([], [])
    assert second.values == {"place": "e"}, "nothing is made up for a user without a profile"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Users who choose what the towers like best or, in every third row, what item-to-item alone knows."""
    events = []
    for hour in range(30, 60):
        for user in range(20):
            events.append((100 * hour + user, 100 if hour % 3 else 300 + user, hour, "click"))
    dataset = write_dataset(tmp_path_factory.mktemp("channels") / "d", events, 300, FeatureSpec())
    everyone = mixture_of({"item_to_item": lambda _: list(range(300, 320)), "popular": lambda _: [100, 101]})
    return evaluate(OrderedTowers(300), dataset, hours(30, 61), mixture=everyone)


def test_a_channel_adds_what_it_alone_finds(report: Report) -> None:
    (ten, fifty, two_hundred) = report.mixture
    assert [one.k for one in report.mixture] == [10, 50, 200]
    for one in (fifty, two_hundred):
        own = one.channels["item_to_item"]
        assert own.recall.value == pytest.approx(1 / 3, abs=0.01)
        assert own.adds.value == pytest.approx(one.gain.value) and one.gain.low > 0
        assert one.channels["popular"].adds.value == 0, "the towers find the same item"
        assert one.recall.value == pytest.approx(one.recall_two_tower.value + one.gain.value)
    assert ten.channels["popular"].overlap["two_tower"] > 0 and ten.channels["popular"].overlap["item_to_item"] == 0
    assert ten.channels["popular"].given == pytest.approx(0.2) and fifty.channels["popular"].given == pytest.approx(
        0.04
    )
    assert fifty.coverage > fifty.channels["item_to_item"].coverage == pytest.approx(20 / 300)


def test_without_channels_nothing_of_them_is_written(report: Report, tmp_path: Path) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report
    clicks = [(user, 100 + user % ITEMS, 30, "click") for user in range(20)]
    plain = evaluate(NotingTowers(ITEMS), write_dataset(tmp_path / "d", clicks, ITEMS, FeatureSpec()), hours(25, 51))
    assert "mixture" not in plain.model_dump_json()
    assert "two_tower" not in shown(plain)


EVERY_CHANNEL = (
    "two_tower",
    "item_to_item",
    "popular",
    "category",
    "fresh",
    "explore",
    "editorial",
    "second_generation",
)


@pytest.mark.parametrize("width", [80, 100])
def test_tables_say_what_each_channel_is_worth(report: Report, width: int) -> None:
    longest = report.mixture[-1]
    overlap = dict.fromkeys(EVERY_CHANNEL, 0.125)
    many = dict.fromkeys(EVERY_CHANNEL, longest.channels["item_to_item"].model_copy(update={"overlap": overlap}))
    mixture = (*report.mixture[:-1], longest.model_copy(update={"channels": many}))
    lines = shown(report.model_copy(update={"mixture": mixture}), width).splitlines()
    assert max(map(len, lines)) <= width and not any("…" in line for line in lines), "nothing is cut off"
    gains = next(line for line in lines if line.startswith("gain "))
    assert all(f"{one.gain.value:+.4f}±" in gains for one in report.mixture)
    for number, name in enumerate(many, 1):
        assert [f"{number}", name, *["0.125"] * (len(many) - 1)] in [line.split() for line in lines]


def shown(report: Report, width: int = 100) -> str:
    out = StringIO()
    Console(file=out, width=width).print(as_tables(report))
    return out.getvalue()
