"""A home of an earlier Pagoda: what it wrote is served as it was served then.

`home.tar.xz` was made at 4809ee1, before the rooms were moved: a full version of a small simulated world, an
incremental one, their generations, the archive and the release log (in which @HOME@ stands for the home's path).
`answers.json` is what its TorchServe answered.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.generations.release_log import open_log
from pagoda.settings import load_settings
from serving.workers.follower import Follower
from serving.workers.tower_host import LocalTowers
from tests.serving.torchserve import RunningTower, torchserve

KEPT = Path(__file__).parent


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTower]:
    """TorchServe, and in its tables and store what a follower brought of the kept home."""
    home = tmp_path_factory.mktemp("kept")
    with tarfile.open(KEPT / "home.tar.xz") as kept:
        kept.extractall(home, filter="data")
    for path in [*(home / "log").iterdir(), home / "versions" / "champion"]:
        path.write_text(path.read_text().replace("@HOME@", str(home)))
    (home / "archives").rename(home / "made")
    settings = load_settings(home)
    with torchserve(home) as running, running.models() as models:
        follower = Follower(open_log(settings), settings.tables_folder, LocalTowers(models))
        assert follower.step().held == ("g1", "g1.2")
        follower.close()
        yield running


@pytest.mark.integration
@pytest.mark.parametrize("generation", ["g1", "g1.2"])
def test_a_kept_generation_gives_the_vectors_that_it_gave(tower: RunningTower, generation: str) -> None:
    kept = json.loads((KEPT / "answers.json").read_text())
    with tower.client as client:
        body = {"instances": kept["instances"], "generation": generation}
        answer = client.post("/predictions/pagoda/1.0", json=body).json()
    then = kept["answers"][generation]
    assert [one["known"] for one in answer["predictions"]] == [one["known"] for one in then["predictions"]]
    # Another processor may add in another order.
    np.testing.assert_allclose(vectors(answer), vectors(then), atol=1e-6)


def test_the_kept_generations_differ_in_users_alone_that_the_incremental_version_learned() -> None:
    answers = json.loads((KEPT / "answers.json").read_text())["answers"]
    changed = np.abs(vectors(answers["g1"]) - vectors(answers["g1.2"])).max(axis=1) > 0
    assert 0 < changed.sum() < len(changed)


def vectors(answer: dict[str, Any]) -> np.ndarray:
    return np.array([one["vector"] for one in answer["predictions"]])
