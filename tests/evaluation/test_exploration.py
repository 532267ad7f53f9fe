"""What exploration cost and brought: told from receipts, as it truly was."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, DataError
from pagoda.evaluation.exploration.estimates import exploration_report
from pagoda.evaluation.exploration.report import ExplorationReport
from tests.data.folders import moment, write_dataset

SPEC = FeatureSpec(receipts=True)
DAY = "date=2024-05-01"
ITEMS, K = 40, 10
Row = dict[str, Any]


def row(at: datetime, user: int, item: int, event: str = "impression", **told: Any) -> Row:
    return {"user_id": user, "item_id": item, "event": event, "timestamp": at, **told}


def shown(at: datetime, user: int, item: int, place: int, propensity: float | None = None) -> Row:
    channels = ["two_tower", "popular"] if propensity is None else ["explore"]
    return row(at, user, item, position=place, channels=channels, propensity=propensity, arm="stable", generation="g1")


def log(path: Path, rows: list[Row], spec: FeatureSpec = SPEC) -> Dataset:
    users, items = sorted({one["user_id"] for one in rows}), range(1, ITEMS + 1)
    ordered = sorted(rows, key=lambda one: one["timestamp"])
    own = {"users": [{"user_id": user} for user in users], "items": [{"item_id": item} for item in items]}
    return Dataset.open(write_dataset(path, parts=[(DAY, ordered)], spec=spec, **own))


def answers(worth: float, *, explored_at: int, often: float, users: int = 1200) -> list[Row]:
    """Answers whose first places are looked at most, where explored items are `worth` so much of others."""
    rng, rows, start = np.random.default_rng(1), [], moment("01:00")
    for user in range(users):
        at, explores = start + timedelta(seconds=user), rng.random() < often
        for place in range(K):
            explored = explores and place == explored_at
            one = shown(at, user, int(rng.integers(1, ITEMS + 1)), place, 0.1 if explored else None)
            rate = 0.9 / (1 + place) ** 0.5 * (worth if explored else 1)
            rows += [one, {**one, "event": "click"}] if rng.random() < rate else [one]
    return rows


def report(dataset: Dataset, clicks: int = 20) -> ExplorationReport:
    return exploration_report(dataset, dataset.span(), clicks=clicks)


@pytest.mark.parametrize(("worth", "often"), [(1.0, 0.5), (0.5, 0.5), (1.0, 1.0), (0.5, 1.0)])
def test_places_far_down_do_not_speak_against_what_is_explored(tmp_path: Path, worth: float, often: float) -> None:
    found = report(log(tmp_path / "d", answers(worth, explored_at=7, often=often))).places
    assert found.ratio.low < worth < found.ratio.high
    assert found.ratio.high - found.ratio.low < 0.4  # All others together have a click rate half as high again.
    lost = 1200 * often * (1 - worth) * 0.9 / 8**0.5
    assert found.lost_clicks.value == pytest.approx(lost, abs=60)


def test_channels_say_what_they_showed_alone_and_with_others(tmp_path: Path) -> None:
    rows = answers(1.0, explored_at=2, often=0.5)
    found = report(log(tmp_path / "d", [*rows, row(moment("02:00"), 1, 1)])).channels
    assert found.keys() == {"two_tower", "popular", "explore"}
    assert found["two_tower"] == found["popular"]
    assert found["two_tower"].shown + found["explore"].shown == 1200 * K
    clicked = sum(one["event"] == "click" for one in rows)
    assert found["two_tower"].clicked + found["explore"].clicked == clicked
    assert found["explore"].click_rate.value == pytest.approx(found["explore"].clicked / found["explore"].shown)


def test_evenly_is_what_a_choice_without_preference_would_have_had(tmp_path: Path) -> None:
    # The first of two items is chosen nine times in ten, and clicked always; the other never.
    rows, start = [], moment("01:00")
    for user in range(100):
        good, at = user % 10 > 0, start + timedelta(seconds=user)
        one = shown(at, user, 1 if good else 2, 1, 0.9 if good else 0.1)
        rows += [shown(at, user, 3, 0), one, *([{**one, "event": "click"}] if good else [])]
    places = report(log(tmp_path / "d", rows)).places
    assert places.click_rate.value == pytest.approx(0.9)
    assert places.evenly.value == pytest.approx(0.5)


def test_an_item_is_known_from_so_many_clicks_on_wherever_they_came(tmp_path: Path) -> None:
    night, noon = moment("01:00"), moment("12:00")

    def clicks(item: int, number: int, start: datetime, **told: Any) -> list[Row]:
        return [row(start + timedelta(seconds=user), user, item, "click", **told) for user in range(number)]

    tried = {"position": 4, "channels": ["explore"], "propensity": 0.5}
    rows = [shown(noon - timedelta(minutes=1), 1, item, 4, 0.5) for item in (1, 2, 3, 4)]
    rows += clicks(1, 3, night) + clicks(1, 2, noon)  # Known before.
    rows += clicks(2, 3, noon, **tried)  # Known by exploration alone.
    rows += clicks(3, 1, night) + clicks(3, 1, noon, **tried)
    rows += clicks(3, 1, noon, position=0, channels=["popular"])  # Known by all together.
    rows += clicks(4, 2, noon, **tried)  # Not known yet.
    rows += clicks(5, 9, noon)  # Never explored.
    dataset = log(tmp_path / "d", rows)
    window = dataset.span().model_copy(update={"start": moment("06:00")})
    found = exploration_report(dataset, window, clicks=3).items
    assert (found.explored, found.known_before, found.known_since, found.known_alone) == (4, 1, 2, 1)
    assert found.clicks_later == 1  # On the third; those on the first stood in no place of an answer.


def test_without_receipts_or_exploring_it_says_what_to_do(tmp_path: Path) -> None:
    plain = log(tmp_path / "plain", [row(moment("01:00"), 1, 1)], FeatureSpec())
    with pytest.raises(ConfigError, match="declares no receipts"):
        report(plain)
    nothing = log(tmp_path / "nothing", [shown(moment("01:00"), 1, 1, 0)])
    with pytest.raises(DataError, match="declare a channel of kind explore"):
        report(nothing)


def test_the_command_prints_the_report(tmp_path: Path) -> None:
    dataset = log(tmp_path / "d", answers(0.5, explored_at=2, often=0.5, users=50))
    told = ["explore", "report", "--data", str(dataset.path)]
    result = CliRunner().invoke(app, [*told, "--clicks", "2", "--output", "json"])
    assert ExplorationReport.model_validate_json(result.stdout) == report(dataset, 2)
    assert json.loads(result.stdout)["items"]["clicks"] == 2
    table = CliRunner().invoke(app, [*told, "--window", "2024-05-01/2024-05-02"])
    assert "clicks lost" in table.stdout
