"""What is said of a version's worth, and when that is a warning."""

from __future__ import annotations

import pytest

from pagoda.evaluation.judgement import Judgement
from pagoda.evaluation.page import as_page
from pagoda.evaluation.report import Estimate, Report

from .worlds import hours


def report(lift: dict[str, tuple[float, float, float]], items: int = 1000) -> Report:
    estimates = {name: Estimate(value=value, low=low, high=high) for name, (value, low, high) in lift.items()}
    return Report(
        version="1",
        window=hours(0, 1),
        protocol="each",
        seed=0,
        rows=1234,
        available=1234,
        repeats=0,
        users=56,
        items=items,
        thirds={},
        methods={},
        curve_at=[],
        lift=estimates,
        item_baseline="ease",
        item_lift={"recall@50": Estimate(value=1.1, low=0.9, high=1.3)},
    )


GOOD = {"recall@50": (2.0, 1.8, 2.2), "ndcg@10": (3.0, 2.5, 3.5)}


def test_it_says_the_lift_its_interval_and_whose_it_is() -> None:
    judged = Judgement(of="held_back", report=report(GOOD), share=0.25)
    words = judged.in_words()
    assert "Recall@50 is 2.00 × popularity's (1.80 to 2.20) and 1.10 × EASE's (0.90 to 1.30)" in words
    assert "all but the last tenth of the window, both of 25.0% of the users" in words
    assert judged.warnings() == [] and set(judged.tags()) == {"judgement"}
    assert judged.figures["lift_over_popularity_low"] == 1.8 and judged.figures["lift_over_ease"] == 1.1


@pytest.mark.parametrize(
    ("lift", "says"),
    [
        ({"recall@50": (0.9, 0.8, 0.95)}, "Worse than popularity: Recall@50 is 0.90"),
        ({"recall@50": (0.98, 0.9, 1.05)}, "Not shown to be better than popularity: Recall@50 is 0.98"),
        ({"recall@50": (1.2, 1.1, 1.3), "ndcg@10": (0.8, 0.7, 0.9)}, "Worse than popularity: NDCG@10 is 0.80"),
        ({"recall@50": (1.2, 1.1, 1.3), "ndcg@10": (0.8, 0.7, 1.1)}, None),
    ],
)
def test_what_loses_is_a_warning(lift: dict[str, tuple[float, float, float]], says: str | None) -> None:
    warnings = Judgement(of="itself", report=report(lift)).warnings()
    assert [warning[: len(says or "")] for warning in warnings] == ([says] if says else [])


def test_among_few_items_the_first_ten_count() -> None:
    judged = Judgement(of="itself", report=report({"recall@50": (1, 1, 1), "recall@10": (1.5, 1.2, 1.8)}, items=200))
    assert "Recall@10 is 1.50" in judged.in_words()


def test_what_could_not_be_judged_says_why() -> None:
    judged = Judgement(of="held_back", reason="all positives of the window lie in one moment")
    assert judged.in_words() == "Not judged: all positives of the window lie in one moment."
    assert (judged.figures, judged.warnings()) == ({}, [])
    assert "Nothing was measured" in as_page(judged) and "one moment" in as_page(judged)
