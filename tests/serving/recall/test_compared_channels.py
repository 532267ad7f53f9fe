"""Which channels an answer must not lack while a rollout compares two arms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pagoda.config.training import parse_config
from pagoda.generations.manifest import Manifest, Mixture
from pagoda.item_vectors.filter import EVERYTHING
from pagoda.rollout.state.split import Split
from serving.recall.api import Prediction, RecallInstance
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup
from serving.recall.request.outcomes import given_by, is_fallback
from tests.serving.fakes import manifest

KEYS = {"editorial": ", items: [1]"}


def with_channels(full: int, towers: float, *others: tuple[str, float]) -> Manifest:
    shares = (("two_tower", towers), *others)
    declared = ", ".join(f"{{kind: {kind}, share: {share}{KEYS.get(kind, '')}}}" for kind, share in shares)
    config = parse_config(f"channels: [{declared}]")
    mixture = Mixture(channels=config.channels, merging=config.merging, tables={})
    return manifest(full).model_copy(update={"mixture": mixture})


@pytest.mark.parametrize(
    ("candidate", "compared"),
    [
        (with_channels(4, 0.6, ("popular", 0.2), ("fresh", 0.2)), {"two_tower", "popular"}),
        (with_channels(4, 0.6, ("popular", 0.4)), {"two_tower"}),
        (with_channels(4, 0.5, ("popular", 0.2), ("fresh", 0.2), ("item_to_item", 0.1)), {"popular"}),
        (manifest(4), set()),
    ],
)
def test_channels_are_compared_where_both_arms_declare_them_alike(candidate: Manifest, compared: set[str]) -> None:
    stable = LiveGeneration(with_channels(3, 0.6, ("popular", 0.2), ("fresh", 0.2)))
    split = Split("g3", "g4", 50, "r1")
    assert Serving(split, stable, LiveGeneration(candidate)).compared_channels == compared
    assert not Serving(split, stable).compared_channels


@pytest.mark.parametrize("kind", ["editorial", "fresh"])
def test_what_editors_changed_or_the_catalogue_lately_got_speaks_against_no_arm(kind: str) -> None:
    """A full update on a day without new items has none that are fresh, and is no worse for it."""
    alike = [LiveGeneration(with_channels(full, 0.6, ("popular", 0.2), (kind, 0.2))) for full in (3, 4)]
    serving = Serving(Split("g3", "g4", 50, "r1"), *alike)
    assert serving.compared_channels == set(serving.measured_channels) == {"two_tower", "popular"}


SAME = with_channels(4, 0.6, ("popular", 0.2), ("second_generation", 0.2))


def popular_of_a_day(mixture: Mixture) -> dict[str, Any]:
    channels = mixture.channels
    return {
        "channels": tuple(one.model_copy(update={"days": 1.0}) if one.kind == "popular" else one for one in channels)
    }


def merged(mixture: Mixture, **changes: Any) -> dict[str, Any]:
    return {"merging": mixture.merging.model_copy(update=changes)}


BOTH = frozenset({"two_tower", "popular"})
OTHERWISE: dict[str, tuple[Callable[[Mixture], dict[str, Any]], frozenset[str]]] = {
    "order": (lambda mixture: {"channels": mixture.channels[::-1]}, BOTH),
    "second": (lambda _: {"second": "g1"}, BOTH),
    "tables": (popular_of_a_day, BOTH - {"popular"}),
    "merging": (lambda mixture: merged(mixture, kind="rrf"), frozenset()),
    "known": (lambda mixture: merged(mixture, known_after=1.0), frozenset()),
}
"""What differs in the candidate's mixture, and without which channels its answers are then fallbacks."""


def serving_both(stable: Mixture, canary: Mixture) -> Serving:
    arms = [LiveGeneration(SAME.model_copy(update={"mixture": one})) for one in (stable, canary)]
    return Serving(Split("g3", "g4", 50, "r1"), *arms)


@pytest.mark.parametrize("change", OTHERWISE)
def test_what_a_mixture_means_to_give_otherwise_speaks_against_no_arm(change: str) -> None:
    assert SAME.mixture
    alike = serving_both(SAME.mixture, SAME.mixture)
    assert set(alike.measured_channels) == alike.compared_channels == BOTH
    differs, compared = OTHERWISE[change]
    changed = serving_both(SAME.mixture, SAME.mixture.model_copy(update=differs(SAME.mixture)))
    assert changed.compared_channels == compared and not changed.measured_channels


@pytest.mark.parametrize("change", ["order", "second", "tables"])
def test_what_has_reciprocal_ranks_has_places_by_all_lists_together(change: str) -> None:
    assert SAME.mixture
    ranks = SAME.mixture.model_copy(update=merged(SAME.mixture, kind="rrf"))
    assert serving_both(ranks, ranks).compared_channels == BOTH
    other = ranks.model_copy(update=OTHERWISE[change][0](ranks))
    assert not serving_both(ranks, other).compared_channels


def test_an_item_counts_for_the_first_channel_that_is_measured() -> None:
    lookup = Lookup(RecallInstance(user_id=1, k=4), EVERYTHING)
    found = (
        ["second_generation", "two_tower", "popular"],
        ["second_generation"],
        ["popular"],
        ["two_tower", "popular"],
    )
    lookup.merged = [{"item_id": item, "score": 0.5, "channels": had} for item, had in enumerate(found)]
    lookup.given, lookup.items = {"two_tower": 2, "popular": 3}, []  # A pre-ranker may leave out what it will.
    assert given_by(lookup, ("popular", "two_tower")) == [(0.25, 0.75), (0.5, 0.5)]


@pytest.mark.parametrize(
    ("found", "degraded", "fallback"),
    [
        (["popular"], [], False),
        (["two_tower"], [], True),
        (["popular"], ["fields_missing"], False),
        (["popular"], ["fresh_missing"], True),
    ],
)
def test_an_answer_lacks_a_channel_that_gave_nothing_and_none_that_a_pre_ranker_left_out(
    found: list[str], degraded: list[str], fallback: bool
) -> None:
    """How many items are new is not compared; a table of them that cannot be read is a fault all the same."""
    lookup = Lookup(RecallInstance(user_id=1, k=1), EVERYTHING)
    gave = enumerate((["two_tower"], found))
    lookup.merged = [{"item_id": item, "score": 0.5, "channels": had} for item, had in gave]
    answer: Prediction = {
        "items": lookup.merged[:1],
        "generation": "g4",
        "arm": "canary",
        "known_user": True,
        "degraded": degraded,
        "timing_ms": {},
    }
    assert is_fallback(answer, lookup, BOTH) is fallback
