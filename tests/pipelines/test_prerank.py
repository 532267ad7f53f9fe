"""A pre-ranker on a whole platform: answers, an incremental, and rollouts to a plain version and back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pagoda.client import Client, Recommendation
from pagoda.data.window import to_us
from tests.training.prerank.worlds import PRERANK, make_shown
from tests.training.worlds import CONFIG
from tests.waiting import wait_for

from .served.homes import Home
from .test_compact import USER, K, answer, in_process, roll_out, serving
from .test_interests import offered

pytestmark = [pytest.mark.integration, pytest.mark.long]


def recommended(home: Home) -> Recommendation:
    with Client(home=home.settings.home) as client:
        return client.recommend(USER, k=K, timestamp=to_us(home.dataset.span().end))


@pytest.mark.parametrize("profile", [None, "compact"], ids=["TorchServe and Milvus", "in process"])
def test_a_pre_ranker_serves_and_changes_places_with_a_plain_version(profile: str | None, tmp_path: Path) -> None:
    with serving(tmp_path, "", profile, PRERANK, make_shown) as home:
        wait_for(lambda: not recommended(home).degraded)
        said = recommended(home)
        expected = in_process(home, home.state().generation(said.generation))
        scores, found = [item.score for item in said.items], [item.recall_score for item in said.items]
        assert scores == sorted(scores, reverse=True) and found != sorted(found, reverse=True)
        np.testing.assert_allclose([expected[int(item.item_id)] for item in said.items], found, atol=1e-4)
        home.now += timedelta(hours=2)
        newest = home.learn().manifest.id
        wait_for(lambda: answer(home)[0] == newest)
        assert all(item.recall_score is not None for item in recommended(home).items)
        roll_out(home, offered(home, 54, CONFIG))
        assert all(item.recall_score is None for item in recommended(home).items)
        roll_out(home, offered(home, 56, PRERANK))
