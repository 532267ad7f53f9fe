"""A teacher of our own learns what users choose, and writes what students learn from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError
from pagoda.training.full.loop import Silent
from pagoda.training.full.own_teacher import OwnTeacher
from pagoda.training.negatives.mined_file import read_lists, write_mined
from tests.training.worlds import IDS_ALONE, ITEMS, KINDS, USERS, config, hours, make

WINDOW = hours(0, 50)
LIKE = config(bootstrap_epochs=12)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("own") / "data")


@pytest.fixture(scope="module")
def teacher(dataset: Dataset) -> OwnTeacher:
    return OwnTeacher.trained(dataset, WINDOW, LIKE, Silent())


def test_it_thinks_more_of_what_is_of_the_users_kind(teacher: OwnTeacher) -> None:
    users, items = np.arange(USERS), np.arange(ITEMS)
    scores = teacher.logits(users, np.broadcast_to(items + 100, (USERS, ITEMS)))
    own = items % KINDS == users[:, None] % KINDS
    better = [scores[user, own[user]].mean() > scores[user, ~own[user]].mean() for user in users]
    assert np.mean(better) > 0.9


def test_what_was_shown_often_and_chosen_seldom_counts_less(
    dataset: Dataset, teacher: OwnTeacher, tmp_path: Path
) -> None:
    """Item 100 is shown whenever anything is chosen; item 104 is of its kind, and chosen as often."""
    shutil.copytree(dataset.path, tmp_path / "data")
    for part in (tmp_path / "data" / "interactions").rglob("*.parquet"):
        chosen = pq.read_table(part)
        columns = {name: chosen[name] for name in chosen.column_names}
        columns |= {"item_id": np.full(len(chosen), 100), "event": ["impression"] * len(chosen)}
        both = pa.concat_tables([chosen, pa.table(columns).cast(chosen.schema)])
        pq.write_table(both.sort_by("timestamp"), part)
    users, items = np.arange(0, USERS, KINDS), np.array([[100, 104]])
    asked = users, np.repeat(items, len(users), 0)
    told = OwnTeacher.trained(Dataset.open(tmp_path / "data"), WINDOW, LIKE, Silent())
    often, seldom = told.logits(*asked).mean(0)
    alike = np.subtract(*teacher.logits(*asked).mean(0))
    assert often - seldom < alike - 1


def test_its_rows_take_steps_as_those_of_the_version_do(dataset: Dataset) -> None:
    asked = np.arange(USERS), np.full((USERS, 1), 100)
    short, long = (
        OwnTeacher.trained(dataset, hours(0, 10), config(bootstrap_epochs=1, optimiser=how), Silent()).logits(*asked)
        for how in ({"table_memory": 0.5}, {})
    )
    assert not np.allclose(short, long)


def test_what_was_found_is_scored_pair_by_pair(teacher: OwnTeacher, tmp_path: Path) -> None:
    users, items = np.repeat([3, 4, 9], [5, 1, 7]), np.arange(13) % ITEMS + 100
    write_mined(tmp_path / "found", [(users, items, np.arange(13))])
    assert teacher.write_scores(tmp_path / "found", tmp_path / "scores") == 13
    written = pq.read_table(tmp_path / "scores")
    assert written["user_id"].to_pylist() == users.tolist()
    assert written["item_id"].to_pylist() == items.tolist()
    alone = [
        teacher.logits(np.array([user]), np.array([[item]]))[0, 0] for user, item in zip(users, items, strict=True)
    ]
    np.testing.assert_allclose(written["score"], alone, rtol=1e-3, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9), st.integers(1, 4))
def test_lists_hold_what_was_mined_and_no_more(
    tmp_path_factory: pytest.TempPathFactory, of: list[int], at: int
) -> None:
    users, items = np.repeat(np.arange(len(of)) * 3 - 4, of), np.arange(sum(of)) * 7 + 1
    path = tmp_path_factory.mktemp("lists") / "mined"
    write_mined(path, [(users, items, np.ones(len(users), np.int64))])
    found = []
    for owners, lists in read_lists(path, at):
        assert len(owners) <= at
        found += [(owner, item) for owner, row in zip(owners, lists, strict=True) for item in row if item >= 0]
    assert found == list(zip(users, items, strict=True))


def test_without_histories_there_is_nothing_to_attend_to(tmp_path: Path) -> None:
    alone = make(tmp_path / "data", IDS_ALONE, clicks_an_hour=5)
    with pytest.raises(ConfigError, match="declares no history, and a teacher of our own attends to one"):
        OwnTeacher.trained(alone, WINDOW, LIKE, Silent())


def test_one_command_writes_what_the_next_learns_from(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(config(bootstrap_epochs=1).to_yaml())
    (tmp_path / "taught.yaml").write_text(config(bootstrap_epochs=1, distillation={}).to_yaml())

    def run(*words: str | Path) -> BaseException | None:
        return CliRunner().invoke(app, ["train", *map(str, words), "--data", str(dataset.path)]).exception

    scores = tmp_path / "new" / "scores.parquet"
    teach = ["teacher", "--version", tmp_path / "plain", "--window-end", "1970-01-03T00:00:00+00:00", "--out", scores]
    assert run("full", "--no-judge", "--config", tmp_path / "plain.yaml", "--out", tmp_path / "plain") is None
    assert run(*teach) is None
    twice = run(*teach)
    assert isinstance(twice, ConfigError) and "exists already" in str(twice)
    student = ["full", "--no-judge", "--config", tmp_path / "taught.yaml", "--teacher", scores]
    assert run(*student, "--out", tmp_path / "student") is None
    written = pq.read_table(scores)
    assert len(np.unique(written["user_id"])) > USERS - KINDS
    assert list(scores.parent.iterdir()) == [scores]
