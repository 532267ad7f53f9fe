"""A cascade on a whole platform: answers, changes of items, an incremental, and rollouts to a plain model and back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pagoda.client import Client
from pagoda.item_changes.changes import removed, upserted
from pagoda.item_changes.log import open_item_log
from tests.training.worlds import CONFIG, config
from tests.waiting import wait_for

from .served.homes import Home
from .test_compact import K, answer, in_process, roll_out, serving
from .test_interests import offered

pytestmark = [pytest.mark.integration, pytest.mark.long]
MEMBERS = [{"name": "easy"}, {"name": "hard", "dim": 12}]
CASCADE = config(ensemble={"members": MEMBERS, "combine": "cascade", "candidates": 15})
NEW = 900


@pytest.mark.parametrize("profile", [None, "compact"], ids=["TorchServe and Milvus", "in process"])
def test_a_cascade_serves_and_changes_places_with_a_plain_model(profile: str | None, tmp_path: Path) -> None:
    with serving(tmp_path, "", profile, CASCADE) as home:
        generation, items, scores = answer(home)
        expected = in_process(home, home.state().generation(generation))
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:K], atol=1e-3)
        np.testing.assert_allclose([expected[int(item)] for item in items], scores, atol=1e-3)
        _change_items(home, int(items[0]))
        home.now += timedelta(hours=2)
        newest = home.learn().manifest.id
        wait_for(lambda: answer(home)[0] == newest)
        for end, how in ((54, CONFIG), (56, CASCADE)):
            roll_out(home, offered(home, end, how))


def _change_items(home: Home, best: int) -> None:
    """The best item goes, and a new one comes, found by the first member and scored by the second."""
    spec = home.dataset.spec
    gone, new = removed(spec, best, "item"), upserted(spec, {"item_id": NEW, "tags": ["k3", "all"]}, "item")
    open_item_log(home.settings).append([gone, new])

    def changed() -> bool:
        with Client(home=home.settings.home) as client:
            found = {item.item_id for item in client.recommend(3, k=100).items}
        return NEW in found and best not in found

    wait_for(changed)
