"""A window of few users is learned in shorter steps: what they did says little about everybody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec
from pagoda.evaluation.evaluate import evaluate
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import Prepared, prepare
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.evaluation.worlds import Event, write_dataset
from tests.training.worlds import config, hours, make

USERS_AN_HOUR = 12
"""At least; there are 60 users in all."""
Parameters = dict[str, torch.Tensor]


def at(users: int, **changes: object) -> TrainConfig:
    return config(optimiser={"full_pace_users": users}, batch_size=1024, **changes)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("pace") / "data")


@pytest.fixture(scope="module")
def parent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(0, 39), None, config(), tmp_path_factory.mktemp("parent") / "out")


def learned(dataset: Dataset, parent: FullVersionFiles | None, how: TrainConfig) -> tuple[Prepared, Parameters]:
    """An hour that is one batch, so one step; and how far it moved each parameter and each row."""
    prepared = prepare(dataset, hours(39, 40), parent, how)
    before = {name: value.clone() for name, value in parameters(prepared).items()}
    train(prepared, how, 1, Silent())
    return prepared, {name: value - before[name] for name, value in parameters(prepared).items()}


def parameters(prepared: Prepared) -> Parameters:
    learner = prepared.learner
    rows = {"users": learner.users.rows, "items": learner.items.rows}
    return rows | dict(learner.towers.state_dict())


@settings(max_examples=5, deadline=None)
@given(need=st.integers(60, 600))
def test_a_step_is_as_much_shorter_as_users_are_missing(dataset: Dataset, parent: FullVersionFiles, need: int) -> None:
    prepared, moved = learned(dataset, parent, at(need))
    _, whole = learned(dataset, parent, at(1))
    share = len(prepared.survey.users) / need
    assert share < 1
    for name, change in moved.items():
        torch.testing.assert_close(change, share * whole[name], rtol=1e-3, atol=2e-6, msg=name)
    assert all(whole[name].abs().max() > 1e-4 for name in ("users", "items"))


@pytest.mark.parametrize("begun", [True, False])
def test_enough_users_or_a_first_version_are_learned_as_if_there_were_no_such_rule(
    dataset: Dataset, parent: FullVersionFiles, begun: bool
) -> None:
    # Without a parent there is nothing to lose, so any number of users is enough.
    enough = USERS_AN_HOUR if begun else 10_000
    _, moved = learned(dataset, parent if begun else None, at(enough))
    _, whole = learned(dataset, parent if begun else None, at(1))
    assert all(torch.equal(moved[name], whole[name]) for name in whole)


def test_a_version_says_at_which_pace_it_has_learned(
    dataset: Dataset, parent: FullVersionFiles, tmp_path: Path
) -> None:
    slow = full_update(dataset, hours(39, 40), parent, at(1_000), tmp_path / "slow").metrics()
    assert 0.01 < slow["pace"] < 0.06
    assert "pace" not in full_update(dataset, hours(39, 40), parent, at(1), tmp_path / "whole").metrics()


KINDS, OF_A_KIND, DAYS = 4, 40, 20


def sittings() -> list[Event]:
    """Two days of 200 users of four kinds; then days of one or two new ones who click all of their kind; then all."""
    rng = np.random.default_rng(0)

    def click(user: int, hour: int) -> Event:
        kind = user % KINDS if rng.random() < 0.8 else int(rng.integers(KINDS))
        return user, 100 + kind + KINDS * int(rng.integers(OF_A_KIND)), hour, "click"

    log = [click(int(rng.integers(200)), hour) for hour in range(48) for _ in range(60)]
    for day in range(2, 2 + DAYS):
        for user in (1_000 + KINDS * day, 1_002 + KINDS * day)[: 1 + day % 2]:
            items = rng.permutation(OF_A_KIND)
            log += [(user, 100 + user % KINDS + KINDS * int(item), 24 * day + 1, "click") for item in items]
    end = 24 * (2 + DAYS)
    return log + [click(int(rng.integers(200)), end + 1) for _ in range(600)]


def test_days_of_a_few_users_do_not_unlearn_what_many_taught(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data", sittings(), KINDS * OF_A_KIND, FeatureSpec(history=None))
    first = full_update(dataset, hours(0, 48), None, config(), tmp_path / "first", programs=False)

    def after(how: TrainConfig) -> float:
        files = first
        for day in range(2, 2 + DAYS):
            out = tmp_path / f"{how.optimiser.full_pace_users}-{day}"
            files = full_update(dataset, hours(24 * day, 24 * day + 24), files, how, out, programs=False)
        return recall(files)

    def recall(files: FullVersionFiles) -> float:
        end = 24 * (2 + DAYS)
        asked = evaluate(OpenVersion(files, dataset), dataset, hours(end, end + 24))
        return float(asked.methods["live"].groups["all"].metrics["recall@50"].value)

    frozen, daily, as_ever = recall(first), after(config()), after(config(optimiser={"full_pace_users": 1}))
    assert daily > frozen - 0.01
    assert as_ever < frozen - 0.02
