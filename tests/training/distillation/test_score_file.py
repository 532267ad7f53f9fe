"""A teacher's file is read by the dataset's own IDs, the newest score of a pair; what is no score is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pagoda.data.dataset import Dataset
from pagoda.data.ids import hash_ids
from pagoda.data.spec import FeatureSpec
from pagoda.errors import ConfigError, DataError
from pagoda.training.distillation.score_file import KEPT, Scale, Scores, Teacher, read_scores
from pagoda.training.distillation.scored_lists import ScoredLists, scored_lists
from pagoda.training.full.refusals import refuse_what_is_not_there
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.pairs import Pairs
from pagoda.training.tables import TrainableTable
from tests.data.folders import moment, write_dataset
from tests.training.worlds import IDS_ALONE, config, hours, make

CATALOGUE = np.arange(100, 140)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("scores") / "data", IDS_ALONE)


def users(ids: np.ndarray) -> TrainableTable:
    return TrainableTable.first(ids, 2, torch.Generator())


def written(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def as_dict(scores: Scores) -> dict[tuple[int, int], float]:
    pairs = zip(scores.pairs.users.tolist(), scores.pairs.items.tolist(), strict=True)
    return dict(zip(pairs, scores.logits.tolist(), strict=True))


def read(file: Path, dataset: Dataset, scale: Scale = "logit") -> dict[tuple[int, int], float]:
    return as_dict(read_scores(Teacher(file, scale), dataset, users(np.arange(60)), CATALOGUE, seed=0))


def test_scores_are_of_the_users_and_items_at_hand_and_the_newest_counts(dataset: Dataset, tmp_path: Path) -> None:
    at = pa.array([3, 1, 2, 1, 1, 1], pa.timestamp("us", "UTC"))
    rows = {"user_id": [5, 5, 5, 9, 77, 9], "item_id": [101, 101, 101, 120, 101, 99], "score": [1.5, 2, 3, -4, 5, 6]}
    assert read(written(tmp_path / "dated", **rows, timestamp=at), dataset) == {(6, 1): 1.5, (10, 20): -4.0}
    assert read(written(tmp_path / "undated", **rows), dataset) == {(6, 1): 3.0, (10, 20): -4.0}


def test_probabilities_become_logits(dataset: Dataset, tmp_path: Path) -> None:
    file = written(tmp_path / "scores", user_id=[5, 5, 5], item_id=[100, 101, 102], score=[0.5, 0.2, 0.0])
    found = read(file, dataset, "probability")
    assert found[6, 0] == pytest.approx(0)
    assert found[6, 1] == pytest.approx(np.log(0.25))
    assert -20 < found[6, 2] < -10


def test_strings_are_the_ids_of_a_dataset_that_has_strings(dataset: Dataset, tmp_path: Path) -> None:
    rows = [{"user_id": "ann", "item_id": "hat", "event": "click", "timestamp": moment("10:00")}]
    strings = Dataset.open(
        write_dataset(
            tmp_path / "strings", spec=FeatureSpec(id_type="string"), parts=[("date=2024-05-01", rows)],
            users=[{"user_id": "ann"}], items=[{"item_id": "hat"}],
        )
    )  # fmt: skip
    file = written(tmp_path / "scores", user_id=["ann", "ann"], item_id=["hat", "no"], score=[1.0, 2.0])
    ann, hat = users(hash_ids(["ann"])), hash_ids(["hat"])
    assert as_dict(read_scores(Teacher(file), strings, ann, hat, seed=0)) == {(1, 0): 1.0}
    with pytest.raises(DataError, match=r"user_id is of type string, and those of .* are int64"):
        read_scores(Teacher(file), dataset, ann, hat, seed=0)


def test_of_a_long_list_a_part_is_kept_at_random(dataset: Dataset, tmp_path: Path) -> None:
    owners, items = np.repeat(np.arange(3), 500), np.tile(np.arange(500), 3)
    file = written(tmp_path / "scores", user_id=owners, item_id=items, score=items.astype(float))
    found = read_scores(Teacher(file), dataset, users(np.arange(60)), np.arange(500), seed=0)
    assert np.bincount(found.pairs.users).tolist() == [0, KEPT, KEPT, KEPT]
    assert len(np.unique(found.pairs.keys)) == 3 * KEPT
    assert found.logits.tolist() == found.pairs.items.tolist()
    assert abs(found.logits.mean() - 250) < 50


def test_a_draw_gives_scores_with_their_items_and_none_twice() -> None:
    pairs = Pairs(np.array([1, 1, 1, 3]), np.array([10, 11, 12, 13]))
    lists = ScoredLists(Scores(pairs, np.array([0.1, 0.2, 0.3, 0.4], np.float32)), 4, 2, seed=0)
    items, logits = lists.draw(np.array([1] * 50 + [0, 3]), np.random.default_rng(0))
    assert (items[:50, 0] != items[:50, 1]).all()
    assert set(items[:50].ravel()) == {10, 11, 12}
    np.testing.assert_allclose(logits[:50], (items[:50] - 9) / 10, rtol=1e-6)
    assert items[50:].tolist() == [[-1, -1], [13, -1]]
    assert np.isneginf(logits[50:]).tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("columns", "scale", "says"),
    [
        (
            {"user_id": [5], "item_id": [101]},
            "logit",
            "score is not there; a teacher's file has user_id, item_id, score",
        ),
        ({"user_id": [5], "item_id": [101], "score": [np.nan]}, "logit", "user 5 and item 101 is nan, not a finite"),
        ({"user_id": [5], "item_id": [101], "score": [1.5]}, "probability", "item 101 is 1.5, not 0 to 1"),
        ({"user_id": [5, None], "item_id": [101, 3], "score": [1.0, 1.0]}, "logit", "user_id is empty in the row"),
        ({"user_id": [0.5], "item_id": [101], "score": [1.0]}, "logit", "user_id is of type double"),
        ({"user_id": [5], "item_id": [101], "score": ["high"]}, "logit", "score is of type string, and .* are numbers"),
        (
            {"user_id": [5], "item_id": [101], "score": [1.0], "timestamp": ["2024-01-01"]},
            "logit",
            "timestamp is of type string; .* write a timestamp",
        ),
    ],
)
def test_what_is_no_score_is_refused(
    dataset: Dataset, tmp_path: Path, columns: dict[str, Any], scale: Scale, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read(written(tmp_path / "scores", **columns), dataset, scale)


def test_distillation_and_teacher_are_refused_without_each_other(dataset: Dataset, tmp_path: Path) -> None:
    file = written(tmp_path / "scores", user_id=[5, 6], item_id=[101, 101], score=[1.0, 2.0])
    asks, window = config(distillation={}), hours(0, 40)
    with pytest.raises(ConfigError, match="distillation is declared, but there is no teacher: --teacher FILE"):
        refuse_what_is_not_there(asks, dataset, window, SideInputs())
    with pytest.raises(ConfigError, match=r"distillation is not declared, so .*scores would not be used"):
        refuse_what_is_not_there(config(), dataset, window, SideInputs(teacher=Teacher(file)))
    with pytest.raises(DataError, match="cannot be read as a teacher's scores"):
        refuse_what_is_not_there(asks, dataset, window, SideInputs(teacher=Teacher(tmp_path / "absent")))
    refuse_what_is_not_there(asks, dataset, window, SideInputs(teacher=Teacher(file)))
    with pytest.raises(ConfigError, match=r"no two items of .* for any user with a positive"):
        scored_lists(asks, Teacher(file), dataset, users(np.arange(60)), CATALOGUE)
