"""Interests that training makes tell what a user chose first, and never what a positive is about to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pagoda.data.dataset import Dataset
from pagoda.data.spec import MultiValued
from pagoda.errors import ConfigError
from pagoda.training.examples import made_interests
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from serving.tower.bodies import Instance
from serving.tower.inputs import InputReader
from tests.training.worlds import SPEC, config, hours, make

INTERESTS = MultiValued(name="interests", tower="user", max_values=3)
DECLARED = SPEC.model_copy(update={"features": (*SPEC.features, INTERESTS)})
COLD = {"by": "tags", "users": "interests"}
WINDOW = hours(0, 40)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("interests") / "data", DECLARED)


def test_they_are_the_commonest_categories_of_the_first_ten_and_shown_afterwards(dataset: Dataset) -> None:
    prepared = prepare(dataset, WINDOW, None, config(cold=COLD))
    (block,) = list(prepared.stream.blocks(final=True))
    shown = block.moments.context["interests"]
    tags = dict(zip(dataset.items()["item_id"].to_pylist(), dataset.items()["tags"].to_pylist(), strict=True))
    words = prepared.encoder.vocabularies["interests"]
    users, items = prepared.learner.users.ids[block.moments.users - 1], prepared.survey.catalogue[block.items]
    after = 0
    for user in np.unique(users):
        rows = np.flatnonzero(users == user)
        first = Counter(tag for row in rows[:10] for tag in tags[items[row]])
        told = {words[index - 1] for row in rows for index in shown[row] if index > 0}
        assert (shown[rows[:10]] < 0).all()
        if told:
            expected = sorted(first, key=lambda tag: (-first[tag], words.index(tag)))[:3]
            assert told == set(expected)
        after += len(rows[10:])
    # About half of those after the first ten show them.
    assert 0.4 < (shown[:, 0] > 0).sum() / after < 0.6


def test_users_who_said_something_keep_it(dataset: Dataset, tmp_path: Path) -> None:
    said = make(tmp_path / "data", DECLARED, interests=["k0", "all"])
    prepared = prepare(said, WINDOW, None, config(cold=COLD))
    (block,) = list(prepared.stream.blocks(final=True))
    words = prepared.encoder.vocabularies["interests"]
    shown = {tuple(words[index - 1] for index in row if index > 0) for row in block.moments.context["interests"]}
    assert shown == {(), ("k0", "all")}


def test_a_new_users_interests_lead_to_such_items(dataset: Dataset, tmp_path: Path) -> None:
    files = full_update(dataset, WINDOW, None, config(cold=COLD, bootstrap_epochs=6), tmp_path / "out")
    vectors = OpenVersion(files, dataset).item_vectors()
    kinds, right = np.arange(len(vectors)) % 4, 0
    for kind in range(4):
        user = _asked(files, {"interests": [f"k{kind}"]})
        nobody = _asked(files, {})
        gain = vectors[:35] @ (user - nobody)
        right += gain[kinds[:35] == kind].mean() > gain[kinds[:35] != kind].mean()
    assert right >= 3


def test_positives_of_users_who_do_not_count_make_nobodys(dataset: Dataset) -> None:
    found = prepare(dataset, WINDOW, None, config(cold=COLD)).survey
    first, after_us = made_interests._first_positives(dataset, WINDOW, found)
    # One before others, and the last one.
    counting = np.isin(found.users, [found.users[3], found.users[-1]], invert=True)
    fewer = replace(found, users=found.users[counting])
    for whole, part in zip((first, after_us), made_interests._first_positives(dataset, WINDOW, fewer), strict=True):
        np.testing.assert_array_equal(part, whole[counting])


def _asked(files: FullVersionFiles, profile: dict[str, list[str]]) -> np.ndarray:
    """The vector of a user of whom only the profile is known, by the way of requests."""
    keys = InputReader(files.encoder).read([Instance(user_id=10**6, profile=profile)], 0)
    with torch.inference_mode():
        rows = keys.id_rows(files.users), keys.history_rows(files.items)
        vector: np.ndarray = files.towers().user(*keys.tensors().with_rows(*rows)).numpy()[0]
    return vector


def test_without_the_feature_it_is_refused(tmp_path: Path) -> None:
    plain = make(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"cold\.users is interests, .* add \{kind: multi, name: interests"):
        full_update(plain, WINDOW, None, config(cold=COLD), tmp_path / "out")


def test_they_are_the_same_however_the_window_is_read(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [prepare(dataset, WINDOW, None, config(cold=COLD)).stream.interests]
    monkeypatch.setattr(made_interests, "_BATCH_ROWS", 7)
    made.append(prepare(dataset, WINDOW, None, config(cold=COLD)).stream.interests)
    whole, parts = made
    assert whole is not None and parts is not None
    assert np.array_equal(whole.values, parts.values) and np.array_equal(whole.after_us, parts.after_us)
