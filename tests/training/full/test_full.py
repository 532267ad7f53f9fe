"""A full version: whole files, the same to the bit each time, continued from its parent, and worth having."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pagoda.code_version import code_version
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.errors import ConfigError, ConflictError, DataError, GateError, IntegrityError
from pagoda.evaluation.evaluate import evaluate
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update, open_version
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import IDS_ALONE, config, hours, make

EXACT = ("encoder.json", "config.yaml", "lineage.json", "towers.safetensors", "popularity.parquet")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("full") / "data")


@pytest.fixture(scope="module")
def first(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(0, 40), None, config(), tmp_path_factory.mktemp("first") / "out")


@pytest.fixture(scope="module")
def second(dataset: Dataset, first: FullVersionFiles, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    return full_update(dataset, hours(40, 50), first, config(), tmp_path_factory.mktemp("second") / "out")


def weights(files: FullVersionFiles) -> dict[str, str]:
    tables = [f"{table}/{name}.npy" for table in ("users", "items") for name in ("ids", "rows", "oov")]
    found = {name: checksum_file(files.folder / name) for name in (*EXACT, *tables)}
    state = sorted(path for path in files.state.rglob("*") if path.is_file())
    return found | {str(path.relative_to(files.state)): checksum_file(path) for path in state}


def test_two_runs_are_the_same_to_the_bit(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    again = full_update(dataset, hours(0, 40), None, config(), tmp_path / "again")
    other = full_update(dataset, hours(0, 40), None, config(seed=1), tmp_path / "other")
    assert weights(again) == weights(first)
    assert weights(other)["towers.safetensors"] != weights(first)["towers.safetensors"]


def test_so_are_two_runs_from_a_parent_in_blocks(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    runs = [full_update(dataset, hours(40, 50), first, config(shuffle_rows=70), tmp_path / name) for name in "ab"]
    assert weights(runs[0]) == weights(runs[1])


def test_a_version_finds_what_users_like(dataset: Dataset, second: FullVersionFiles) -> None:
    report = evaluate(OpenVersion(second, dataset), dataset, hours(50, 60))
    live, popularity = (
        report.methods[name].groups["all"].metrics["recall@10"].value for name in ("live", "popularity")
    )
    assert live > 1.3 * popularity


def test_the_next_version_grows_and_goes_on(first: FullVersionFiles, second: FullVersionFiles) -> None:
    assert set(first.users.ids) == set(range(50)) < set(second.users.ids) <= set(range(60))
    assert set(first.items.ids) < set(second.items.ids)
    distance = np.linalg.norm(first.items.rows - second.items.lookup(first.items.ids)[0], axis=1)
    assert 0 < distance.mean() < np.linalg.norm(first.items.rows, axis=1).mean()
    assert second.lineage.parent == first.lineage.window
    assert second.lineage.code_version == code_version()
    assert second.squares("users").shape == (len(second.users) + 1,)
    assert all(
        (second.dense_state()[f"{name}.step"] > first.dense_state()[f"{name}.step"]) for name in first.parameters()
    )


def test_rows_of_ids_that_the_window_lacks_stay(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    child = full_update(dataset, hours(40, 41), first, config(), tmp_path / "child")
    active = np.concatenate([batch["user_id"].to_numpy() for batch in dataset.batches(hours(40, 41), events=["click"])])
    quiet = np.setdiff1d(first.users.ids, active)
    assert len(quiet) > 20
    np.testing.assert_array_equal(first.users.lookup(quiet)[0], child.users.lookup(quiet)[0])
    moved = np.intersect1d(first.users.ids, active)
    assert (first.users.lookup(moved)[0] != child.users.lookup(moved)[0]).any(1).mean() > 0.3


def test_the_out_of_vocabulary_rows_are_trained(first: FullVersionFiles) -> None:
    for table in (first.users, first.items):
        assert np.linalg.norm(table.oov) > 0.01


def test_histories_at_the_end_are_those_of_the_whole_log(dataset: Dataset, second: FullVersionFiles) -> None:
    expected = HistoryState(5)
    for batch in dataset.batches(hours(0, 50), events=["click"]):
        users, items = batch.column("user_id").to_numpy(), batch.column("item_id").to_numpy()
        expected.push(users, items, batch.column("timestamp").cast(pa.int64()).to_numpy())
    users, moments = np.arange(60), np.full(60, hours(0, 50).end_us)
    found = second.history()
    assert found is not None
    for ours, theirs in zip(found.read(users, moments).padded(), expected.read(users, moments).padded(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_popularity_counts_the_window(dataset: Dataset, second: FullVersionFiles) -> None:
    clicks = second.popularity()
    counted = np.concatenate([b["item_id"].to_numpy() for b in dataset.batches(hours(40, 50), events=["click"])])
    assert clicks["clicks"].to_numpy().sum() == len(counted) == second.metrics()["positives"]
    assert (np.diff(clicks["clicks"].to_numpy()) <= 0).all()
    assert clicks["clicks"][0].as_py() == (counted == clicks["item_id"][0].as_py()).sum()


def test_exported_programs_give_the_vectors_of_the_version(dataset: Dataset, second: FullVersionFiles) -> None:
    version, items = OpenVersion(second, dataset), dataset.items()
    program = torch.export.load(second.folder / "item_tower.pt2").module()
    features = second.encoder.encode_rows("item", items.to_pylist())
    rows, _ = second.items.lookup(items["item_id"].to_numpy())
    vectors = program(torch.from_numpy(rows), {name: torch.from_numpy(array) for name, array in features.items()})
    np.testing.assert_allclose(version.item_vectors(), vectors.detach().numpy(), atol=1e-6)


def test_a_request_for_anyone_agrees_with_the_exported_user_tower(dataset: Dataset, second: FullVersionFiles) -> None:
    """Known user, user without profile, and a stranger without anything."""
    users, moment = np.array([3, 59, 777]), hours(0, 50).end_us
    history = second.history()
    assert history is not None
    past = history.read(users, np.full(3, moment))
    context = pa.table({"device": ["tv", None, None]})
    vectors = OpenVersion(second, dataset).user_vectors(users, np.full(3, moment), past, context)

    program = torch.export.load(second.folder / "user_tower.pt2").module()
    raw = [{"kind": "k3", "device": "tv"}, {}, {}]
    for row, user in enumerate(users):
        items, times_us, mask, _ = past.take(np.array([row])).padded()
        features = second.encoder.encode_rows("user", [raw[row]], np.array([moment]))
        expected = program(
            torch.from_numpy(second.users.lookup(np.array([user]))[0]),
            torch.from_numpy(second.items.lookup(items[0])[0][None]),
            torch.from_numpy(mask),
            torch.from_numpy(((moment - times_us) * mask / 1e6).astype(np.float32)),
            {name: torch.from_numpy(array) for name, array in features.items()},
        )
        np.testing.assert_allclose(vectors[row], expected.detach().numpy()[0], atol=1e-5)
    assert OpenVersion(second, dataset).knows(users).tolist() == [True, 59 in second.users.ids, False]


def test_ids_alone_are_enough(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", IDS_ALONE)
    files = full_update(dataset, hours(0, 40), None, config(), tmp_path / "out")
    assert files.history() is None
    child = full_update(dataset, hours(40, 50), files, config(), tmp_path / "child")
    report = evaluate(OpenVersion(child, dataset), dataset, hours(50, 60))
    assert report.methods["live"].groups["all"].metrics["recall@10"].value > 0.25


def test_what_does_not_fit_the_parent_is_refused(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each interaction is learned once"):
        full_update(dataset, hours(30, 50), first, config(), tmp_path / "out")
    with pytest.raises(ConfigError, match="`model` differs"):
        full_update(dataset, hours(40, 50), first, config(model={"dim": 16}), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"features\.yaml differs"):
        full_update(make(tmp_path / "other", IDS_ALONE), hours(40, 50), first, config(), tmp_path / "out")
    with pytest.raises(DataError, match="no positive"):
        full_update(dataset, hours(100, 110), first, config(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_names_the_batch(dataset: Dataset, tmp_path: Path) -> None:
    wild = {"table_learning_rate": 1e38}
    names = (
        r"loss is (nan|inf) in batch \d+ of block 1 of epoch \d \(\d+ positives from 1970-01-0.* user \d+ and item \d+"
    )
    with pytest.raises(GateError, match=names):
        full_update(dataset, hours(0, 40), None, config(optimiser=wild), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "says"),
    [({"max_row_norm": 1e-3}, "longest row of the user table"), ({"max_mean_cosine": 1e-9}, "vectors have collapsed")],
)
def test_a_version_that_drifted_is_never_written(
    dataset: Dataset, tmp_path: Path, limits: dict[str, float], says: str
) -> None:
    with pytest.raises(GateError, match=says):
        full_update(dataset, hours(0, 40), None, config(drift=limits), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_quiet_hour_of_few_users_is_no_collapse(dataset: Dataset, first: FullVersionFiles, tmp_path: Path) -> None:
    strict = config(drift={"max_mean_cosine": 1e-9})
    with pytest.raises(GateError, match="vectors have collapsed"):
        full_update(dataset, hours(40, 60), first, strict, tmp_path / "out")
    full_update(dataset, hours(40, 41), first, strict, tmp_path / "out")


def test_nothing_is_overwritten_and_nothing_half_is_opened(
    dataset: Dataset, first: FullVersionFiles, tmp_path: Path
) -> None:
    with pytest.raises(ConflictError, match="exists already"):
        full_update(dataset, hours(0, 40), None, config(), first.folder.parent)
    with pytest.raises(IntegrityError, match=r"lineage\.json: cannot be read"):
        open_version(tmp_path)
    (tmp_path / "version").mkdir()
    (tmp_path / "version" / "towers.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(IntegrityError, match=r"towers\.safetensors: missing or damaged"):
        FullVersionFiles(tmp_path / "version", tmp_path / "state").parameters()
