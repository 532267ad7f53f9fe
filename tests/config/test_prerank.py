"""What the section `prerank` refuses."""

from __future__ import annotations

import pytest

from pagoda.config.training import parse_config
from pagoda.errors import ConfigError

MEMBERS = "[{name: easy}, {name: hard, dim: 12}]"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("prerank: {features: [cosine, cosine]}", "each group once"),
        ("prerank: {hidden: []}", "hidden"),
        ("prerank: {candidates: 1}", "candidates"),
        ("{prerank: {}, model: {history: {kind: self_attentive, interests: 4}}}", "users of one vector"),
        (
            "{prerank: {}, channels: [{kind: two_tower, share: 0.9}, {kind: explore, share: 0.1}]}",
            "gives places by chance",
        ),
        (f"{{prerank: {{}}, ensemble: {{members: {MEMBERS}, combine: cascade}}}}", "choose one"),
    ],
)
def test_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_config(text)


def test_a_file_that_does_not_declare_it_says_nothing_of_it() -> None:
    assert "\nprerank:" not in parse_config("").to_yaml()
