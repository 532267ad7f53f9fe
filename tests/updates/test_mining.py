"""What is mined are the ranks of the version's own search, without what users had; an update mines its parent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pagoda.cli.main import app
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.spec import FeatureSpec, History
from pagoda.errors import ConfigError, DataError
from pagoda.evaluation.opened_towers import scorer_of
from pagoda.evaluation.ranking import NOTHING_EXCLUDED
from pagoda.index.base import Collections
from pagoda.index.build import build_collection
from pagoda.item_vectors.vector_files import ItemVectorsWriter
from pagoda.model.table_inputs import histories_at
from pagoda.training.full.update import full_update
from pagoda.updates import full_steps
from pagoda.updates.full import FullUpdate
from pagoda.updates.mining.mine import mine
from pagoda.updates.mining.searches import CollectionSearch
from pagoda.updates.mining.slices import STRIDE
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.evaluation.worlds import write_dataset
from tests.training.worlds import config, hours, make

from .installations import Installation

MINED = config(bootstrap_epochs=1, negatives={"mined": 3})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("mining") / "data", clicks_an_hour=5)


@pytest.fixture(scope="module")
def version(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    how, out = config(bootstrap_epochs=1), tmp_path_factory.mktemp("version") / "out"
    return full_update(dataset, hours(0, 40), None, how, out)


def ranked(dataset: Dataset, version: FullVersionFiles, user: int) -> list[int]:
    """All items that the user has not had, the best first, by brute force."""
    moment = hours(0, 40).end_us
    state = histories_at(dataset, hours(0, 40).end, None, None)
    assert state is not None
    towers, users, at = OpenVersion(version, dataset), np.array([user]), np.array([moment])
    vectors = towers.user_vectors(users, at, state.read(users, at)).reshape(-1, version.config.model.dim)
    scores = (vectors @ towers.item_vectors().T).max(0)
    items, known = dataset.items()["item_id"].to_numpy(), had(dataset, user)
    return [int(item) for item in items[np.argsort(-scores, kind="stable")] if item not in known]


def had(dataset: Dataset, user: int) -> set[int]:
    """What a user chose before the version's end."""
    found: set[int] = set()
    for batch in dataset.batches(hours(0, 40), events=["click"]):
        found |= set(batch["item_id"].to_numpy()[batch["user_id"].to_numpy() == user].tolist())
    return found


def read(path: Path) -> dict[int, list[tuple[int, int]]]:
    """Of each user the items with their ranks."""
    found: dict[int, list[tuple[int, int]]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault(row["user_id"], []).append((row["item_id"], row["rank"]))
    return found


def test_mined_are_the_ranks_of_the_versions_search(
    dataset: Dataset, version: FullVersionFiles, tmp_path: Path
) -> None:
    rows = mine(dataset, version, tmp_path / "mined", ranks=(4, 9))
    found = read(tmp_path / "mined")
    assert rows == sum(len(items) for items in found.values())
    assert set(found) == set(version.users.ids.tolist())
    for user in (0, 7, 31):
        assert found[user] == [(item, rank) for rank, item in enumerate(ranked(dataset, version, user)[3:9], 4)]


def test_of_several_interests_the_best_score_of_each_item_ranks_it(dataset: Dataset, tmp_path: Path) -> None:
    model = {"dim": 8, "feature_dim": 4, "history": {"kind": "self_attentive", "interests": 3, "hidden": 8}}
    how = config(bootstrap_epochs=1, model=model, drift={"max_interest_cosine": 1})
    version = full_update(dataset, hours(0, 40), None, how, tmp_path / "out")
    mine(dataset, version, tmp_path / "mined", ranks=(1, 6))
    found = read(tmp_path / "mined")
    for user in (0, 7, 31):
        assert found[user] == [(item, rank) for rank, item in enumerate(ranked(dataset, version, user)[:6], 1)]


def test_of_a_cascade_the_second_model_ranks_what_the_first_finds(dataset: Dataset, tmp_path: Path) -> None:
    members = [{"name": "easy"}, {"name": "hard", "dim": 4}]
    how = config(bootstrap_epochs=1, ensemble={"combine": "cascade", "candidates": 15, "members": members})
    version = full_update(dataset, hours(0, 40), None, how, tmp_path / "out", programs=False)
    mine(dataset, version, tmp_path / "mined", ranks=(1, 40))
    towers, found, at = OpenVersion(version, dataset), read(tmp_path / "mined"), np.array([hours(0, 40).end_us])
    items, state = dataset.items()["item_id"].to_numpy(), histories_at(dataset, hours(0, 40).end, None, None)
    assert state is not None
    for user in (0, 7, 31):
        vectors = towers.user_vectors(np.array([user]), at, state.read(np.array([user]), at))
        scores = scorer_of(towers, vectors, towers.item_vectors(), NOTHING_EXCLUDED).block(slice(None))[0]
        order = items[np.argsort(-scores, kind="stable")][:15].tolist()
        mined = [item for item, _ in found[user]]
        assert 0 < len(mined) <= 15
        assert mined == [item for item in order if item in mined]
        assert set(order) - set(mined) <= had(dataset, user)


def test_what_cannot_be_mined_is_refused(dataset: Dataset, version: FullVersionFiles, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no item at ranks 101 to 500 for any user"):
        mine(dataset, version, tmp_path / "mined")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="expected FIRST-LAST, counted from 1"):
        mine(dataset, version, tmp_path / "mined", ranks=(5, 4))
    (tmp_path / "mined").touch()
    with pytest.raises(ConfigError, match="exists already"):
        mine(dataset, version, tmp_path / "mined", ranks=(4, 9))


def test_several_processes_write_the_file_of_one(tmp_path: Path) -> None:
    rng, users = np.random.default_rng(0), STRIDE + 300
    events = [
        (user, 100 + int(rng.integers(30)), hour, "click") for hour in range(40) for user in range(hour % 20, users, 20)
    ]
    dataset = write_dataset(tmp_path / "data", events, 30, FeatureSpec(history=History(length=3)))
    how = config(bootstrap_epochs=1, batch_size=1024)
    version = full_update(dataset, hours(0, 40), None, how, tmp_path / "out", programs=False)
    rows = [mine(dataset, version, tmp_path / f"by-{count}", ranks=(2, 9), processes=count) for count in (1, 2)]
    assert rows == [8 * users, 8 * users]
    assert (tmp_path / "by-1").read_bytes() == (tmp_path / "by-2").read_bytes()
    assert not list(tmp_path.glob(".*")), "nothing is left beside the files"


def test_one_command_mines_and_the_next_learns(dataset: Dataset, version: FullVersionFiles, tmp_path: Path) -> None:
    def run(*words: str | Path) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    (tmp_path / "train.yaml").write_text(MINED.to_yaml())
    mined, folder = tmp_path / "mined.parquet", version.folder.parent
    said = run("mine", "--version", folder, "--data", dataset.path, "--out", mined, "--ranks", "5-20")
    assert f"{pq.read_metadata(mined).num_rows:,} negatives" in said.replace("\n", "")
    train = ("train", "full", "--data", dataset.path, "--config", tmp_path / "train.yaml")
    run(*train, "--parent", folder, "--mined", mined, "--out", tmp_path / "next")
    result = CliRunner().invoke(app, [str(word) for word in (*train, "--out", tmp_path / "other")])
    assert isinstance(result.exception, ConfigError)
    assert "nothing was mined" in str(result.exception)


def test_a_full_update_mines_its_parent_and_a_first_one_goes_without(dataset: Dataset, tmp_path: Path) -> None:
    home = Installation(tmp_path / "home", dataset, config(bootstrap_epochs=1))
    first = FullUpdate(home.settings, str(dataset.path), hours(0, 30), None)
    files = full_steps.train(first, MINED.to_yaml())
    assert (files / "version").is_dir()
    home.full(hours(0, 30))
    update = FullUpdate(home.settings, str(dataset.path), hours(30, 50), 1)
    with pytest.raises(DataError, match="no item at ranks 101 to 500"):  # of 40 items; nothing is left behind
        full_steps.train(update, MINED.to_yaml())
    assert not update.outputs.done(full_steps.MINED)


def test_what_a_full_update_refuses_is_refused_before_it_mines(dataset: Dataset, tmp_path: Path) -> None:
    home = Installation(tmp_path / "home", dataset, config(bootstrap_epochs=1))
    home.full(hours(0, 30))
    update = FullUpdate(home.settings, str(dataset.path), hours(30, 50), 1)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"validation": {"hours": 1}}, "what a pipeline registers has learned all of its window"),
        ({"negatives": {"mined": 3, "rejected": 1}}, "no event ranking_rejected"),
    ]
    for change, says in wrong:
        with pytest.raises(ConfigError, match=says):  # mining these 40 items would be a DataError
            full_steps.train(
                update, TrainConfig.model_validate(MINED.model_dump() | {"bootstrap_epochs": 2} | change).to_yaml()
            )


@pytest.mark.parametrize(
    "any_collections",
    ["in_process", pytest.param("milvus", marks=[pytest.mark.integration, pytest.mark.long])],
    indirect=True,
)
def test_a_collection_answers_as_the_exact_search_does(
    dataset: Dataset, version: FullVersionFiles, tmp_path: Path, any_collections: Collections
) -> None:
    vectors = tmp_path / "vectors.parquet"
    computed = OpenVersion(version, dataset).item_vectors()
    with ItemVectorsWriter(vectors, dataset.spec, computed.shape[1]) as writer:
        writer.write(dataset.items(), computed)
    build_collection(any_collections, "mined", vectors, dataset.spec, queries=computed[:8])
    mine(dataset, version, tmp_path / "asked", search=CollectionSearch(any_collections, "mined"), ranks=(2, 6))
    mine(dataset, version, tmp_path / "exact", ranks=(2, 6))
    asked, exact = (pq.read_table(tmp_path / name)["item_id"].to_numpy() for name in ("asked", "exact"))
    seen = exact < 135  # those that nobody has seen score the same, and stand in any order
    assert (asked == exact)[seen].mean() > 0.9
    assert pa.types.is_int32(pq.read_schema(tmp_path / "exact").field("rank").type)
