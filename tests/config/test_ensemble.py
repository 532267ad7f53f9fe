"""What goes together in an ensemble, what a member takes from the file, and what is refused by name."""

from __future__ import annotations

import pytest

from pagoda.config.training import parse_config
from pagoda.errors import ConfigError

TWO = "ensemble: {members: [{name: easy, weight: 0.6}, {name: hard, weight: 0.4}]}"


def test_a_member_is_as_the_file_has_it_but_for_what_it_names() -> None:
    config = parse_config(
        """
        model: {dim: 16, feature_dim: 4, history: {kind: gru}}
        objective: {temperature: 0.07}
        ensemble:
          members:
            - {name: easy, weight: 0.6}
            - {name: hard, weight: 0.4, dim: 48, history: {kind: mean}, negatives: {uniform: 100, mined: 2}}
        """
    )
    easy, hard = config.members
    assert (easy.model, easy.negatives) == (config.model, config.negatives)
    assert (hard.model.dim, hard.model.history.kind, hard.model.feature_dim) == (48, "mean", 4)
    assert (hard.negatives.mined, hard.negatives.in_batch, hard.objective) == (2, True, config.objective)
    assert (config.row_dim, config.vector_dim, config.cascade) == (64, 64, None)
    assert parse_config(config.to_yaml()) == config


def test_a_cascade_searches_the_first_members_vectors() -> None:
    config = parse_config(
        "ensemble: {combine: cascade, candidates: 50, members: [{name: easy, dim: 8}, {name: hard, dim: 24}]}"
    )
    assert (config.vector_dim, config.row_dim, config.cascade) == (8, 32, (8, 50))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ensemble: {members: [{name: a, weight: 1}]}", "members"),
        (TWO.replace("hard", "easy"), "'easy' more than once"),
        (TWO.replace("0.4", "0.5"), "weights add up to 1.1"),
        (TWO.replace(", weight: 0.4", ""), "hard has no weight"),
        (TWO.replace("]}", "], candidates: 50}"), "candidates has no effect while combine is weighted"),
        (TWO.replace("]}", "], combine: cascade}"), "weight has no effect in a cascade"),
        (
            "ensemble: {combine: cascade, members: [{name: a}, {name: b}, {name: c}]}",
            "are 3, but a cascade has two",
        ),
        (TWO.replace("0.4", "0.4, history: {kind: transformer, heads: 3}"), "hard: .*heads 3 must divide"),
        (
            TWO.replace("0.4", "0.4, objective: {kind: pointwise}, negatives: {mined: 9}"),
            "hard: .*mined is 9, more than objective.negatives 3",
        ),
        (f"learn: sequences\n{TWO}", "easy: learn: sequences puts all"),
        (TWO.replace("0.4", "0.4, history: {kind: routing}"), "gives 4 vectors of a user, which is for a single model"),
        (f"model: {{similarity: dot}}\n{TWO}", "similarity is dot, which is for a single model"),
        (f"model: {{augment: {{}}}}\n{TWO}", "augment is declared, which is for a single model"),
        (f"model: {{branches: [{{kind: rows}}, {{kind: mlp}}]}}\n{TWO}", "branches are declared"),
        (f"self_supervision: {{items: 5}}\n{TWO}", "self_supervision is declared"),
        (f"distillation: {{}}\n{TWO}", "distillation is declared"),
        (TWO.replace("0.4", "0.4, negatives: {bad: 2}"), "negatives.bad is set"),
        (
            "model: {dim: 16}\n" + TWO.replace("0.6", "0.6, dim: 8").replace("0.4", "0.4, dim: 4"),
            "model.dim has no effect, since each",
        ),
        (TWO.replace("0.4", "0.4, features: [a]"), "features"),
    ],
)
def test_says_what_does_not_go_together(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"mine.yaml: .*{says}"):
        parse_config(text, "mine.yaml")
