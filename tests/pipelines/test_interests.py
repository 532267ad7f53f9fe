"""Several interests on a whole platform: answers, an incremental, and rollouts to a plain model and back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pagoda.config.training import TrainConfig
from pagoda.data.window import Window
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from tests.training.worlds import CONFIG, config, hours
from tests.waiting import wait_for

from .served.homes import Home
from .test_compact import K, answer, in_process, made, roll_out, serving

pytestmark = [pytest.mark.integration, pytest.mark.long]
HISTORY = {"kind": "routing", "interests": 2}
SEVERAL = config(model={**CONFIG.model.model_dump(mode="json"), "history": HISTORY}, drift={"max_interest_cosine": 1})


def offered(home: Home, end: int, how: TrainConfig) -> str:
    """A candidate of another model, which has no parent."""
    window = Window(start=home.dataset.span().start, end=hours(0, end).end)
    return full_steps.offer(made(FullUpdate(home.settings, str(home.dataset.path), window, None), how)).id


@pytest.mark.parametrize("profile", [None, "compact"], ids=["TorchServe and Milvus", "in process"])
def test_several_interests_serve_and_change_places_with_a_plain_model(profile: str | None, tmp_path: Path) -> None:
    with serving(tmp_path, "", profile, SEVERAL) as home:
        generation, items, scores = answer(home)
        expected = in_process(home, home.state().generation(generation))
        assert (generation, home.state().generation(generation).interests) == ("g1", 2)
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=1e-4)
        np.testing.assert_allclose([expected[int(item)] for item in items], scores, atol=1e-4)
        home.now += timedelta(hours=2)
        newest = home.learn().manifest.id
        wait_for(lambda: answer(home)[0] == newest)
        for end, how in ((54, CONFIG), (56, SEVERAL)):
            roll_out(home, offered(home, end, how))
