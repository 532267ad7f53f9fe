"""What an explanation says of channels, of what a filter leaves, and of the pre-ranker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.client.explanation import ArmExplained, ChannelExplained, Explanation
from pagoda.config.training import parse_config
from pagoda.data.window import to_us
from pagoda.errors import UnavailableError
from pagoda.generations.manifest import Manifest, Prerank
from pagoda.index.in_process.search import FolderSearch
from serving.recall.channels.base import Channel
from serving.recall.channels.merge import merge
from serving.recall.channels.tables import TableChannels
from serving.recall.channels.two_tower import TwoTowerChannel
from serving.recall.explanation.by_channel import explained_prerank
from serving.recall.explanation.explainer import Explainer
from serving.recall.fallback.steps import PRERANK
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.servers.batching import JoinedIndex
from serving.recall.servers.breaker import Breaker
from tests.item_vectors.worlds import items_table
from tests.serving.fakes import NOTHING, manifest
from tests.serving.recall.channels.mixtures import END, ITEMS, VECTORS, make_generation
from tests.serving.recall.channels.test_channels import TITLED, Stub
from tests.serving.recall.setting import begun

K = 12
PAST = [{"item_id": 21, "timestamp": to_us(END) - 1}]
HURRIED = parse_config(
    "channels: [{kind: two_tower, share: 0.5, seconds: 0.01}, {kind: item_to_item, share: 0.25}, "
    "{kind: popular, share: 0.25}]"
)
ARM: ArmExplained = {
    "arm": "stable",
    "generation": "g3",
    "why": "no_rollout",
    "canary": None,
    "canary_percent": 0.0,
}
KINDS = [row["kind"] for row in items_table(ITEMS).to_pylist()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A generation with its tables and its collection."""
    return make_generation(tmp_path_factory.mktemp("generation"))


def folder(made: Manifest) -> Path:
    return Path(made.item_vectors.uri).parent / "index"


async def explained(made: Manifest, **fields: Any) -> tuple[Lookup, Explanation]:
    live, tables = LiveGeneration(made), TableChannels()
    await tables.warm(live)
    (lookup,) = begun(live, **{"k": K, "timestamp": to_us(END), "history": PAST, "explain": True, **fields})
    lookup.vectors = (VECTORS[0].tolist(),)
    await merge((TwoTowerChannel(JoinedIndex(FolderSearch(folder(made)))),), live, lookup, tables)
    return lookup, await Explainer(tables=tables).explain(live, lookup, ARM)


def by_name(said: Explanation) -> dict[str, ChannelExplained]:
    return {one["channel"]: one for one in said["channels"]}


async def test_what_each_channel_was_asked_found_and_gave_is_told(made: Manifest) -> None:
    lookup, said = await explained(made)
    channels = by_name(said)
    assert list(channels) == ["two_tower", "item_to_item", "popular"]
    assert sum(one["quota"] or 0 for one in channels.values()) == said["candidates"] == K
    assert sum(one["share"] or 0 for one in channels.values()) == pytest.approx(1)
    assert sum(one["credited"] for one in channels.values()) == len(lookup.items) == K
    assert {name: one["found"] for name, one in channels.items()} == lookup.given
    had = [sum(name in item["channels"] for item in lookup.items) for name in channels]
    assert [one["given"] for one in channels.values()] == had and max(had) <= K
    assert {one["outcome"] for one in channels.values()} == {"answered"}


class _Slow(Channel):
    """Takes as long as it is let, behind a breaker."""

    name = "two_tower"

    async def candidates(self, *_: Any) -> Any:
        return await Breaker("index slow").call(lambda: asyncio.sleep(60), 60)


@pytest.mark.parametrize(
    ("towers", "outcome", "error"),
    [(_Slow(), "late", "no answer within"), (Stub("two_tower", UnavailableError("gone")), "failed", "gone")],
)
async def test_a_channel_that_is_late_is_told_from_one_that_failed(
    made: Manifest, towers: Channel, outcome: str, error: str
) -> None:
    assert made.mixture
    hurried = made.model_copy(update={"mixture": made.mixture.model_copy(update={"channels": HURRIED.channels})})
    # Something must be able to stand in for the towers, or the request fails.
    live, tables = LiveGeneration(hurried), TableChannels()
    await tables.warm(live)
    (lookup,) = begun(live, k=K, timestamp=to_us(END), history=PAST, explain=True)
    lookup.vectors = (VECTORS[0].tolist(),)
    await merge((towers, Stub("popular", stands_in="index_popular")), live, lookup, tables)
    said = await Explainer(tables=tables).explain(live, lookup, ARM)
    first = by_name(said)["two_tower"]
    assert (first["outcome"], first["deadline_ms"], first["found"], first["credited"]) == (outcome, 10.0, 0, 0)
    assert error in (first["error"] or "")
    assert by_name(said)["item_to_item"]["deadline_ms"] is None


async def test_a_channel_whose_table_is_damaged_is_not_open(made: Manifest) -> None:
    assert made.mixture
    tables = {
        name: file.model_copy(update={"checksum": "xxh3:0"}) if name.startswith("popular/") else file
        for name, file in made.mixture.tables.items()
    }
    damaged = made.model_copy(update={"mixture": made.mixture.model_copy(update={"tables": tables})})
    _, said = await explained(damaged)
    assert {one["channel"]: one["outcome"] for one in said["channels"]} == {
        "two_tower": "answered",
        "item_to_item": "answered",
        "popular": "not_open",
    }


@settings(max_examples=15)
@given(
    kind=st.integers(0, 3),
    removed=st.sets(st.integers(0, ITEMS + 2)),
    moved=st.dictionaries(st.integers(0, ITEMS + 2), st.integers(0, 3)),
)
def test_items_that_a_filter_leaves_are_counted_as_they_are_now(
    made: Manifest, kind: int, removed: set[int], moved: dict[int, int]
) -> None:
    changed: dict[int | str, bytes] = {item: f'{{"kind": "kind {now}"}}'.encode() for item, now in moved.items()}
    live, tables = LiveGeneration(made), TableChannels(removed, changed)
    asyncio.run(tables.warm(live))
    now = {item: KINDS[place] for place, item in enumerate(items_table(ITEMS)["item_id"].to_pylist())}
    now = {item: f"kind {moved[item]}" if item in moved else was for item, was in now.items() if item not in removed}
    expected = sum(one == f"kind {kind}" for one in now.values()), len(now)
    assert tables.count(live, live.wanted({"kind": f"kind {kind}"}, ())) == expected


async def test_a_backend_that_can_counts_and_says_that_it_is_exact(made: Manifest) -> None:
    live, search = LiveGeneration(made), FolderSearch(folder(made))
    (lookup,) = begun(live, k=K, explain=True, filter={"kind": "kind 0"})
    said = await Explainer(count=search.count).explain(live, lookup, ARM)
    assert said["filter"] == {"kept": KINDS.count("kind 0"), "total": ITEMS, "exact": True}
    found = await search.search("items", [VECTORS[0].tolist()], ITEMS, wanted=lookup.wanted, excluded=(), keys=False)
    assert len(found[0]) == KINDS.count("kind 0"), "which is what a search finds"
    missing = LiveGeneration(made.model_copy(update={"collection": "gone"}))
    assert (await Explainer(count=search.count).explain(missing, lookup, ARM))["filter"] is None


async def test_without_a_count_the_tables_items_are_counted(made: Manifest) -> None:
    _, said = await explained(made, filter={"kind": "kind 0"})
    assert said["filter"] == {"kept": KINDS.count("kind 0"), "total": ITEMS, "exact": False}


async def test_words_are_a_channel_of_a_request_that_has_some() -> None:
    for text, outcome in (
        (Stub("text"), "answered"),
        (Stub("text", UnavailableError("gone")), "failed"),
        (None, "not_open"),
    ):
        (lookup,) = begun(TITLED, text="red", explain=True)
        await merge((Stub("two_tower"),), TITLED, lookup, text=text)
        towers, words = (await Explainer().explain(TITLED, lookup, ARM))["channels"]
        assert (words["channel"], words["outcome"], words["found"]) == ("text", outcome, int(outcome == "answered"))
        assert (towers["found"], towers["credited"], towers["share"]) == (1, 1, None)


def test_what_the_pre_ranker_did_is_told() -> None:
    model = Prerank.model_construct(candidates=50, program=NOTHING, encoder=NOTHING, items=(NOTHING,), budget_ms=1.0)
    live = LiveGeneration(manifest(3).model_copy(update={"prerank": model}))
    (lookup,) = begun(live, explain=True)
    lookup.candidates = {"two_tower": [{"item_id": item, "score": 0.5} for item in range(50)]}
    assert explained_prerank(live, lookup) == {"outcome": "answered", "scored": 50, "error": None}
    lookup.degraded.append(PRERANK)
    assert (explained_prerank(live, lookup) or {})["outcome"] == "not_open"
    lookup.fail(PRERANK, "no answer in time", late=True)
    assert explained_prerank(live, lookup) == {"outcome": "late", "scored": 0, "error": "no answer in time"}


def test_why_something_failed_is_noted_for_who_asks_alone() -> None:
    (lookup,) = begun(LiveGeneration(manifest(3)))
    lookup.fail("two_tower", "gone")
    assert not lookup.failures
