"""A first version is judged by a training of its own, which changes nothing of the version."""

from __future__ import annotations

from pathlib import Path

import pytest

from pagoda.data.spec import FeatureSpec
from pagoda.evaluation.baselines.item_baseline import BaselineLimits
from pagoda.evaluation.judgement import later_window
from pagoda.storage.inventory import take_inventory
from pagoda.training.full import judgement
from pagoda.training.full.judgement import judge_held_back, limits_of, share_of
from pagoda.training.full.update import full_update
from tests.evaluation.worlds import write_dataset
from tests.training.worlds import CONFIG, config, hours, make


def test_the_last_tenth_is_asked_of_what_learned_the_rest(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    window = dataset.span()
    judged = judge_held_back(dataset, window, CONFIG)
    report = judged.report
    assert report is not None and (judged.of, judged.share) == ("held_back", 1.0)
    positives = dataset.count(window, events=["click"])
    assert report.available == pytest.approx(positives / 10, abs=2)
    assert report.window.end == window.end and dataset.count(report.window, events=["click"]) == report.available
    assert report.lift and report.item_lift and judged.seconds > 0


def test_the_version_is_the_same_to_the_bit_whether_it_was_judged_or_not(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    one = config(bootstrap_epochs=1)
    before = full_update(dataset, dataset.span(), None, one, tmp_path / "a")
    judge_held_back(dataset, dataset.span(), one)
    after = full_update(dataset, dataset.span(), None, one, tmp_path / "b")
    made, again = (take_inventory(files.folder) for files in (before, after))
    assert {name: sum_ for name, sum_ in made.items() if name != "metrics.json"} == {
        name: sum_ for name, sum_ in again.items() if name != "metrics.json"
    }


def test_a_large_window_is_judged_on_a_sample_of_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(tmp_path / "data")
    monkeypatch.setattr(judgement, "_SMALL", 600)
    judged = judge_held_back(dataset, dataset.span(), config(bootstrap_epochs=1))
    assert judged.report is not None and judged.report.users < 40
    assert "of the users" in judged.whose and 0.4 < judged.share < 0.6


def test_the_sample_is_what_a_fifth_of_the_time_allows() -> None:
    assert share_of(30_000, 100_000) == 1
    assert share_of(60_000, 1_000_000) == pytest.approx(0.5)
    assert share_of(1_000_000, 5_000_000) == pytest.approx(0.22)
    assert share_of(30_000, 10_000_000) == pytest.approx(0.5), "above five million rows always a sample"


def test_a_short_update_has_a_cheap_baseline() -> None:
    assert limits_of(1) == BaselineLimits(3_000, 200_000)
    assert limits_of(10**12) == BaselineLimits(20_000, 5_000_000)


def test_what_cannot_be_judged_says_why_and_stops_nothing(tmp_path: Path) -> None:
    events = [(user, 100 + user % 5, 0, "click") for user in range(20)]
    dataset = write_dataset(tmp_path / "d", events, 5, FeatureSpec())
    judged = judge_held_back(dataset, dataset.span(), CONFIG)
    assert judged.report is None and "lie in one moment" in judged.reason


def test_some_hundred_positives_after_the_window_judge_the_version_itself(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data")
    assert later_window(dataset, hours(0, 30)) is not None
    assert later_window(dataset, hours(0, 58)) is None
    assert later_window(dataset, dataset.span()) is None
