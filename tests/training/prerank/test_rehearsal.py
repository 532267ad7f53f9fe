"""How a first version's towers are rehearsed for its pre-ranker, and what is refused before any of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pagoda.data.dataset import Dataset
from pagoda.erasure.pending import NOBODY
from pagoda.errors import ConfigError, DataError
from pagoda.model.table_inputs import histories_at
from pagoda.training.distillation.score_file import Teacher
from pagoda.training.full import judgement, learning
from pagoda.training.full.judgement import judge_held_back
from pagoda.training.full.preparation import prepare
from pagoda.training.full.preranking import _rehearsed
from pagoda.training.full.refusals import refuse_rehearsal, refuse_what_the_data_lacks
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.update import full_update
from pagoda.training.negatives.mined_file import write_mined
from pagoda.training.prerank.shown import parts_of
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import USERS, config, hours

from .worlds import make_shown, pre_ranked, until

WINDOW, SECTION = hours(0, 30), {"candidates": 20, "hidden": [16]}
EVEN = {"one": 0.5, "tiny": 0.5}
TINY: dict[str, Any] = {
    "ensemble": {"members": [{"name": "one"}, {"name": "tiny", "dim": 1}]},
    "drift": {"max_mean_cosine": 1},  # One number has two directions.
}
STOPPED: dict[str, Any] = {"bootstrap_epochs": 9, "patience": 1, "validation": {"hours": 6, "metric": "ndcg@10"}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_shown(tmp_path_factory.mktemp("rehearsed") / "data")


@pytest.fixture(scope="module")
def first_part(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    """A version of what a rehearsal learns."""
    return trained(dataset, {}, tmp_path_factory.mktemp("first") / "out")


def trained(dataset: Dataset, changes: dict[str, Any], out: Path) -> FullVersionFiles:
    return full_update(dataset, parts_of(dataset, WINDOW)[0], None, config(**changes), out, programs=False)


def assert_rehearsed(dataset: Dataset, how: dict[str, Any], beside: SideInputs, like: FullVersionFiles) -> None:
    """The rehearsal's towers are, to the bit, those of a version; in this world no later word is new."""
    chosen = config(prerank=SECTION, **how)
    prepared = prepare(dataset, WINDOW, None, chosen, beside)
    before, theirs = _rehearsed(prepared, chosen, NOBODY.ids), OpenVersion(like, dataset)
    np.testing.assert_array_equal(before.towers.item_vectors(), theirs.item_vectors())
    np.testing.assert_array_equal(before.towers.knows(np.arange(USERS)), theirs.knows(np.arange(USERS)))
    users, moments = like.users.ids, np.full(len(like.users.ids), before.window.start_us)
    up_to_now = histories_at(dataset, before.window.start, None, None)
    assert before.histories is not None and up_to_now is not None
    np.testing.assert_array_equal(before.histories.read(users, moments).items, up_to_now.read(users, moments).items)


def told(by: str, dataset: Dataset, folder: Path) -> SideInputs:
    """What was made from all of the window."""
    if by == "bad":
        return SideInputs(relevance=full_update(dataset, WINDOW, None, config(), folder / "asked", programs=False))
    chosen = pa.Table.from_batches(list(dataset.batches(WINDOW, events=["click"], columns=["user_id", "item_id"])))
    users, items = (chosen[name].to_numpy() for name in ("user_id", "item_id"))
    if by == "mined":
        write_mined(folder / "mined", [(users, 100 + (items + 1) % 40, np.full(len(users), 101))])
        return SideInputs(mined=folder / "mined")
    pq.write_table(chosen.append_column("score", pa.array(items % 2 * 9.0)), folder / "scores")
    return SideInputs(teacher=Teacher(folder / "scores"))


@pytest.mark.parametrize("by", ["mined", "bad", "distillation"])
def test_what_was_made_from_later_rows_tells_a_rehearsal_nothing(
    by: str, dataset: Dataset, first_part: FullVersionFiles, tmp_path: Path
) -> None:
    how = {"distillation": {"weight": 10}} if by == "distillation" else {"negatives": {"uniform": 16, by: 1}}
    assert_rehearsed(dataset, how, told(by, dataset, tmp_path), first_part)


def test_a_rehearsal_stops_where_validation_is_no_better(dataset: Dataset, tmp_path: Path) -> None:
    alone = trained(dataset, STOPPED, tmp_path / "out")
    assert alone.metrics()["best_epoch"] < STOPPED["bootstrap_epochs"]
    assert_rehearsed(dataset, STOPPED, NOTHING_BESIDE, alone)


def test_a_rehearsal_searches_the_weights_of_an_ensemble(dataset: Dataset, tmp_path: Path) -> None:
    alone = trained(dataset, TINY, tmp_path / "out")
    assert alone.metrics()["member_weights"] != EVEN
    assert_rehearsed(dataset, TINY, NOTHING_BESIDE, alone)


def without_rejections(path: Path) -> Dataset:
    """The same world, where nothing is rejected on the first day."""
    make_shown(path)
    first, *_ = sorted((path / "interactions").rglob("*.parquet"))
    rows = pq.read_table(first)
    pq.write_table(rows.filter(pc.not_equal(rows["event"], "ranking_rejected")), first)
    return Dataset.open(path)


def test_a_first_version_is_refused_for_what_its_rehearsal_lacks_before_anything_is_trained(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "train", None)
    few = until(dataset, 40)
    refuse_what_the_data_lacks(pre_ranked(), dataset, few)
    with pytest.raises(DataError, match=r"learns from the last fifth .* impressions in .* prerank needs 10 at least"):
        prepare(dataset, few, None, pre_ranked())
    # Judging would train, too.
    with pytest.raises(DataError, match="learns from the last fifth"):
        judge_held_back(dataset, few, pre_ranked())
    with pytest.raises(ConfigError, match=r"is rehearsed .* validation.hours 24 holds back the whole window of"):
        prepare(dataset, WINDOW, None, config(prerank=SECTION, validation={"hours": 24}))
    with pytest.raises(ConfigError, match=r"is rehearsed .* has no event ranking_rejected in"):
        rejected = config(prerank=SECTION, negatives={"uniform": 16, "rejected": 1})
        prepare(without_rejections(tmp_path / "data"), hours(0, 28), None, rejected)


def test_judging_refuses_what_the_update_does_which_learns_no_more_than_validation_leaves(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "train", None)
    learned, window = until(dataset, 40), until(dataset, 75)
    how = config(prerank=SECTION, validation={"hours": (window.end - learned.end) / timedelta(hours=1)})
    refuse_rehearsal(how, dataset, window)
    with pytest.raises(DataError, match="learns from the last fifth"):
        judge_held_back(dataset, window, how)


def test_few_impressions_of_a_sample_are_no_reason_not_to_judge(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judgement, "_SMALL", 1)
    judged = judge_held_back(dataset, until(dataset, 160), pre_ranked())
    assert (judged.share, judged.reason) == (0.22, "")
