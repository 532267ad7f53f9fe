"""A report says what the ranks say, as JSON, as tables and as a picture."""

import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pagoda.data.spec import FeatureSpec
from pagoda.evaluation.evaluate import evaluate
from pagoda.evaluation.judgement import Judgement
from pagoda.evaluation.page import as_page
from pagoda.evaluation.rendering.picture import plot
from pagoda.evaluation.rendering.tables import as_tables
from pagoda.evaluation.report import Estimate, Report

from .worlds import NotingTowers, hours, write_dataset

ITEMS = 300


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Users who walk from item to item, in a world where some items are popular."""
    generator = np.random.default_rng(0)
    events, place = [], {user: int(generator.integers(ITEMS)) for user in range(60)}
    for hour in range(60):
        for user in range(0 if hour < 30 else 10, 40 if hour < 30 else 60):
            place[user] = (place[user] + 1) % ITEMS if generator.random() < 0.5 else int(300 * generator.random() ** 3)
            events.append((user, 100 + place[user], hour, "click"))
    dataset = write_dataset(tmp_path_factory.mktemp("world") / "d", events, ITEMS, FeatureSpec())
    return evaluate(Walkers(ITEMS, known=range(40)), dataset, hours(30, 61), version="3", limit=900)


class Walkers(NotingTowers):
    """Points at the item after the last one."""

    def item_vectors(self) -> np.ndarray:
        return np.roll(super().item_vectors(), 1, axis=0)


def test_it_tells_a_good_version_from_popularity_and_chance(report: Report) -> None:
    live, popularity, random = (report.summary(name) for name in ("live", "popularity", "random"))
    assert live["recall@10"] > popularity["recall@10"] > random["recall@10"]
    assert random["recall@50"] == pytest.approx(50 / (ITEMS - 20), rel=0.1)
    assert random["coverage@100"] == pytest.approx(1)
    assert report.lift["recall@10"].low > 1
    # What goes with what is no walk in order.
    assert report.item_baseline == "ease" and report.item_lift["recall@10"].low > 1
    assert report.summary("frozen")["recall@10"] < live["recall@10"]
    assert set(live) == {"recall@10", "recall@50", "recall@100", "ndcg@10", "ndcg@50"} | {
        f"coverage@{k}" for k in (10, 50, 100)
    }


def test_groups_partition_the_rows(report: Report) -> None:
    groups = report.methods["live"].groups
    assert groups["all"].rows == report.rows == sum(groups[name].rows for name in ("head", "middle", "tail"))
    assert groups["new_users"].users == 20
    mean = sum(groups[name].rows * groups[name].metrics["recall@50"].value for name in ("head", "middle", "tail"))
    assert groups["all"].metrics["recall@50"].value == pytest.approx(mean / report.rows)
    assert sum(third.items for third in report.thirds.values()) == ITEMS
    assert report.rows + report.repeats == 900 < report.available
    for method in report.methods.values():
        assert method.curve == sorted(method.curve)
        for group in method.groups.values():
            for estimate in group.metrics.values():
                assert estimate.low <= estimate.value <= estimate.high


def test_json_reads_back(report: Report) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("width", [80, 100])
def test_tables_stand_whole(report: Report, width: int) -> None:
    much = report.model_copy(update={"lift": {name: Estimate(value=12.3, low=1, high=24) for name in report.lift}})
    out = StringIO()
    Console(file=out, width=width).print(as_tables(much))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert "12.300±11.500" in text
    text = " ".join(text.split())  # Prose wraps.
    assert f"{report.methods['live'].groups['all'].metrics['recall@50'].value:.3f}" in text
    assert "popularity" in text and "tail third" in text and "new users" in text
    assert "vs EASE" in text and "of users without a row of their own" in text
    assert f"{report.repeats:,} on items that their user had before" in text


def test_a_plot_is_a_picture(report: Report, tmp_path: Path) -> None:
    plot(report, tmp_path / "plots" / "recall.png")
    assert (tmp_path / "plots" / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_holds_tables_and_picture_by_itself(report: Report) -> None:
    page = as_page(Judgement(of="itself", report=report))
    figures = (report.summary()["recall@10"], report.summary("popularity")["coverage@50"])
    assert all(f"{figure:.3f}" in page for figure in figures)
    assert "tail third" in page and page.count("<svg") == 1
    assert not re.search(r"<(script|img|link)|src=|@import", page)
