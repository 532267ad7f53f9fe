"""Ensembles are trained in one full version, each member by its own negatives; incrementals change user rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pagoda.config.training import TrainConfig
from pagoda.config.validation import ValidationConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec, History
from pagoda.embeddings.overlay import Overlay
from pagoda.errors import ConfigError, IntegrityError
from pagoda.evaluation.evaluate import evaluate
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.model.table_inputs import histories_at
from pagoda.model.towers.ensemble import Ensemble
from pagoda.storage.checksums import checksum_file
from pagoda.training.full import update
from pagoda.training.full.preparation import prepare
from pagoda.training.full.update import full_update
from pagoda.training.full.validation import WindowValidator
from pagoda.training.full.weight_search import choose_weights
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.invariance_check import check_incremental
from pagoda.training.incremental.update import incremental_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

from .test_techniques import NOTHING
from .worlds import ITEMS, config, hours, make

EASY, HARD = 8, 4
MEMBERS: list[dict[str, Any]] = [
    {"name": "easy"},
    {
        "name": "hard",
        "dim": HARD,
        "history": {"kind": "gru"},
        "negatives": {"uniform": 5},
        "objective": {"learn_temperature": True},
    },
]
FEW_STEPS: dict[str, Any] = {"bootstrap_epochs": 3, "drift": {"max_mean_cosine": 0.99}}
"""After which vectors of few numbers are near each other still."""
KINDS = {
    "weighted": config(
        **FEW_STEPS,
        ensemble={"members": [one | {"weight": weight} for one, weight in zip(MEMBERS, (0.7, 0.3), strict=True)]},
    ),
    "cascade": config(**FEW_STEPS, ensemble={"combine": "cascade", "candidates": 12, "members": MEMBERS}),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("ensembles") / "data", clicks_an_hour=15)


@pytest.fixture(scope="module")
def versions(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FullVersionFiles]:
    """A full version of each kind, without programs."""
    folder = tmp_path_factory.mktemp("versions")
    return {
        kind: full_update(dataset, hours(0, 38), None, how, folder / kind, programs=False)
        for kind, how in KINDS.items()
    }


def test_each_member_meets_the_candidates_that_it_declares(dataset: Dataset) -> None:
    members = [{"name": "all", "negatives": {"catalogue": True}}, {"name": "few", "negatives": {"uniform": 3}}]
    prepared = prepare(dataset, hours(0, 38), None, config(negatives={}, ensemble={"members": members}))
    block = next(iter(prepared.stream.blocks(final=True)))
    batch = next(prepared.batcher(NOTHING, 0).batches(block, 16))
    every, few = (batch.of_member(number) for number in range(2))
    assert len(every.places) == ITEMS
    assert len(few.places) < ITEMS
    np.testing.assert_array_equal(every.places[every.targets], few.places[few.targets])
    for own in (every, few):
        rows = batch.item_rows[own.candidate_of].numpy()
        np.testing.assert_array_equal(rows, prepared.catalogue.rows[own.places.numpy()])


def test_no_member_learns_or_is_weighed_by_what_else_is_in_a_set(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", FeatureSpec(history=History(length=40)), clicks_an_hour=15)
    members = [{"name": "many", "negatives": {"in_batch": False, "uniform": 20}}, {"name": "few"}]
    model, negatives = {"dim": 8, "history": {"kind": "mean"}}, {"in_batch": False, "uniform": 3}
    how = config(learn="sets", model=model, negatives=negatives, ensemble={"members": members})
    prepared = prepare(dataset, hours(0, 20), None, how)
    towers, block = prepared.learner.towers, next(iter(prepared.stream.blocks(final=True)))
    batch = next(prepared.batcher(NOTHING, 0).batches(block, 32))
    hidden = []
    for own in (batch.of_member(0), batch.of_member(1)):
        assert own.masked is not None
        hidden.append(set(zip(own.masked[0].tolist(), own.places[own.masked[1]].tolist(), strict=True)))
    assert hidden[0] == hidden[1] != set()
    users, items = prepared.learner.vectors(batch)
    expected = []
    for row, scores in enumerate((users @ items.T).numpy()):
        left = [place for place, item in enumerate(batch.places.tolist()) if (row, item) not in hidden[0]]
        rank = 1 + (scores[left] > scores[batch.targets[row]]).sum()
        expected.append(1 / np.log2(rank + 1) if rank <= 10 else 0)
    assert isinstance(towers, Ensemble)
    searched = choose_weights(prepared, towers, None, batch)
    assert next(each["found"] for each in searched if each["weights"] == [0.5, 0.5]) == pytest.approx(np.mean(expected))


def test_a_version_finds_what_users_like_and_says_how_much_each_member_counts(
    dataset: Dataset, versions: dict[str, FullVersionFiles]
) -> None:
    for kind, files in versions.items():
        report = evaluate(OpenVersion(files, dataset), dataset, hours(38, 60))
        metrics = {name: method.groups["all"].metrics["recall@10"].value for name, method in report.methods.items()}
        assert metrics["live"] > 1.3 * metrics["popularity"], kind
    assert versions["weighted"].metrics()["member_weights"] == pytest.approx({"easy": 0.7, "hard": 0.3})
    assert {"easy_user_mean_cosine", "hard_item_mean_cosine"} < set(versions["weighted"].metrics())


def test_weights_that_nobody_gave_are_what_finds_most_and_stay(dataset: Dataset, tmp_path: Path) -> None:
    validation = ValidationConfig(hours=6, metric="ndcg@10", rows=200)
    members = [{"name": "one"}, {"name": "tiny", "dim": 1}]
    # One number has two directions.
    how = config(bootstrap_epochs=2, ensemble={"members": members}, validation=validation, drift={"max_mean_cosine": 1})
    files = full_update(dataset, hours(0, 38), None, how, tmp_path / "first", programs=False)
    searched, given = files.metrics()["weight_search"], files.metrics()["member_weights"]
    best = max(searched, key=lambda each: each["found"])
    assert list(given.values()) == pytest.approx(best["weights"])
    assert len(searched) == 11
    validator = WindowValidator(dataset, hours(32, 38), validation, how.seed)
    assert validator(OpenVersion(files, dataset)) == pytest.approx(best["found"], abs=1e-3)
    alone = how.model_copy(update={"validation": None})
    child = full_update(dataset, hours(38, 42), files, alone, tmp_path / "child", programs=False)
    assert child.metrics()["member_weights"] == given
    # Without validation, by what was learned last.
    other = full_update(dataset, hours(0, 38), None, alone, tmp_path / "other", programs=False)
    found = max(other.metrics()["weight_search"], key=lambda each: each["found"])
    assert list(other.metrics()["member_weights"].values()) == pytest.approx(found["weights"])


def test_a_child_takes_the_weights_of_its_file_and_refuses_other_members(
    dataset: Dataset, versions: dict[str, FullVersionFiles], tmp_path: Path
) -> None:
    parent, ensemble = versions["weighted"], KINDS["weighted"].model_dump()["ensemble"]
    ensemble["members"][0]["weight"], ensemble["members"][1]["weight"] = 0.2, 0.8
    child = full_update(
        dataset, hours(38, 42), parent, config(**FEW_STEPS, ensemble=ensemble), tmp_path / "child", programs=False
    )
    assert child.metrics()["member_weights"] == pytest.approx({"easy": 0.2, "hard": 0.8})
    with pytest.raises(ConfigError, match="`ensemble` differs"):
        full_update(dataset, hours(38, 42), parent, KINDS["cascade"], tmp_path / "other", programs=False)


@pytest.fixture(params=KINDS)
def exported(
    request: pytest.FixtureRequest, dataset: Dataset, versions: dict[str, FullVersionFiles], tmp_path: Path
) -> tuple[TrainConfig, FullVersionFiles, Path]:
    """A version of each kind, with the item vectors that are searched."""
    files, how = versions[request.param], KINDS[request.param]
    path, vectors = tmp_path / "vectors.parquet", OpenVersion(files, dataset).item_vectors()
    with ItemVectorsWriter(path, dataset.spec, how.vector_dim, "cosine") as writer:
        writer.write(dataset.items(), vectors[:, : how.vector_dim])
    return how, files, path


def test_an_incremental_moves_users_towards_what_they_chose_by_every_member_and_nothing_else(
    dataset: Dataset, exported: tuple[TrainConfig, FullVersionFiles, Path], tmp_path: Path
) -> None:
    how, version, path = exported
    base = FrozenBase(version, dataset, 3, vectors=path)
    files = incremental_update(dataset, hours(38, 60), base, None, how, out=tmp_path / "out")
    assert files is not None
    registered = {
        one.relative_to(version.folder).as_posix(): checksum_file(one)
        for one in version.folder.rglob("*")
        if one.is_file()
    }
    check_incremental(files, 3, registered, path)
    before, _ = version.users.lookup(files.delta.ids)
    changed = files.delta.rows != before
    assert changed[:, :EASY].any(1).all()
    assert changed[:, EASY:].any(1).all()
    batches = list(dataset.batches(hours(38, 60), events=dataset.spec.positives))
    users, items = (np.concatenate([batch[name].to_numpy() for batch in batches]) for name in ("user_id", "item_id"))
    moments, state = np.full(len(users), hours(38, 60).end_us), histories_at(dataset, hours(38, 60).end, None, None)
    assert state is not None
    opened = OpenVersion(version, dataset)
    chosen = opened.item_vectors()[np.searchsorted(base.item_ids, items)]
    products = [
        one.user_vectors(users, moments, state.read(users, moments)) * chosen
        for one in (opened, opened.under(Overlay(version.users, [files.delta])))
    ]
    for part in (slice(None, EASY), slice(EASY, None)):
        assert products[1][:, part].sum(1).mean() > products[0][:, part].sum(1).mean()


def test_an_incremental_is_refused_over_other_vectors_of_the_second_model(
    dataset: Dataset, versions: dict[str, FullVersionFiles], tmp_path: Path
) -> None:
    base, how = FrozenBase(versions["cascade"], dataset, 3), KINDS["cascade"]
    base.item_vectors[0, -1] += 1e-3
    with pytest.raises(IntegrityError, match="second_vectors changed while"):
        incremental_update(dataset, hours(38, 40), base, None, how, out=tmp_path / "out")


def test_a_version_whose_writing_is_killed_is_written_again_to_the_same_bits(
    dataset: Dataset, versions: dict[str, FullVersionFiles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = versions["cascade"], tmp_path / "out"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(update, "write_state", killed)  # After the version's own files.
        full_update(dataset, hours(0, 38), None, KINDS["cascade"], out, programs=False)
    assert not out.exists()
    again = full_update(dataset, hours(0, 38), None, KINDS["cascade"], out, programs=False)
    for name in ("towers.safetensors", "users/rows.npy", "items/rows.npy"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
