"""Which channels an answer must not lack while a rollout compares two arms."""

from __future__ import annotations

import pytest

from pagoda.config.training import parse_config
from pagoda.generations.manifest import Manifest, Mixture
from pagoda.rollout.state.split import Split
from serving.recall.generations.follower import Serving
from serving.recall.generations.generation import LiveGeneration
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
        (with_channels(4, 0.6, ("popular", 0.2), ("fresh", 0.2)), {"two_tower", "popular", "fresh"}),
        (with_channels(4, 0.6, ("popular", 0.4)), {"two_tower"}),
        (with_channels(4, 0.5, ("popular", 0.2), ("fresh", 0.2), ("item_to_item", 0.1)), {"popular", "fresh"}),
        (manifest(4), set()),
    ],
)
def test_channels_are_compared_where_both_arms_declare_them_alike(candidate: Manifest, compared: set[str]) -> None:
    stable = LiveGeneration(with_channels(3, 0.6, ("popular", 0.2), ("fresh", 0.2)))
    split = Split("g3", "g4", 50, "r1")
    assert Serving(split, stable, LiveGeneration(candidate)).compared_channels == compared
    assert not Serving(split, stable).compared_channels


def test_what_editors_changed_speaks_against_no_arm() -> None:
    alike = [with_channels(full, 0.6, ("popular", 0.2), ("editorial", 0.2)) for full in (3, 4)]
    serving = Serving(Split("g3", "g4", 50, "r1"), *map(LiveGeneration, alike))
    assert serving.compared_channels == {"two_tower", "popular"}
