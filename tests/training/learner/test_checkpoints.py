"""A killed training goes on from the batch where it was, to the same bits; the best epoch is what is kept."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typing_extensions import override

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.errors import ConfigError, ConflictError, GateError, IntegrityError
from pagoda.evaluation.opened_towers import OpenedTowers
from pagoda.storage.checksums import checksum_file
from pagoda.training.full import loop, update
from pagoda.training.full.loop import Silent
from pagoda.training.full.side_inputs import SideInputs
from pagoda.training.full.update import full_update
from pagoda.training.negatives.mined_file import write_mined
from pagoda.version_files.full import FullVersionFiles
from tests.training.worlds import config, hours, make

SAVING = {"checkpoint_seconds": 0.0, "bootstrap_epochs": 2, "shuffle_rows": 300}
TRANSFORMER = {
    "dim": 8,
    "feature_dim": 4,
    "history": {"kind": "transformer", "layers": 1, "heads": 1, "hidden": 8, "dropout": 0.3},
}
KINDS = {
    "plain": {},
    "what towers drop, and a queue": {"model": TRANSFORMER, "negatives": {"queue": 3, "queue_warm_up": 4}},
    "sequences, and learning rates that fall": {
        "learn": "sequences",
        "model": TRANSFORMER,
        "negatives": {"in_batch": False, "uniform": 16},
        "optimiser": {"cooldown": 0.5},
    },
    "a learned temperature over a streaming estimate": {
        "objective": {"learn_temperature": True},
        "negatives": {"correction": "streaming"},
    },
    "users who share rows": {"user_rows": {"own": 9, "shared": 6}},
    "sets": {
        "learn": "sets",
        "model": {"dim": 8, "feature_dim": 4, "history": {"kind": "mean"}},
        "negatives": {"in_batch": False, "uniform": 16},
    },
    "an ensemble with a queue, a learned temperature, and weights to be chosen": {
        "drift": {"max_mean_cosine": 0.99},
        "ensemble": {
            "members": [
                {"name": "one", "negatives": {"queue": 3, "queue_warm_up": 4}},
                {"name": "two", "dim": 4, "objective": {"learn_temperature": True}},
            ]
        },
    },
}


class KilledError(Exception):
    """Not one of Pagoda's: as a signal would end it."""


class Dies(Silent):
    """Ends training after so many batches."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.done = 0

    @override
    def begin(self, positives: int, epochs: int, done: int = 0) -> None:
        self.done = done

    @override
    def advance(self, positives: int, loss: float) -> None:
        self.left -= 1
        if not self.left:
            raise KilledError


class Dead(Dies):
    """Ends the process."""

    @override
    def advance(self, positives: int, loss: float) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("checkpoints") / "data")


def weights(files: FullVersionFiles) -> dict[str, str]:
    paths = [path for folder in (files.folder, files.state) for path in sorted(folder.rglob("*")) if path.is_file()]
    # Programs hold the moment they were exported at, metrics the seconds that training took.
    kept = [path for path in paths if path.suffix != ".pt2" and path.name != "metrics.json"]
    return {str(path.relative_to(files.folder.parent)): checksum_file(path) for path in kept}


OFTEN, SELDOM = list(KINDS)[:2], [pytest.param(kind, marks=pytest.mark.long) for kind in list(KINDS)[2:]]


@pytest.fixture(params=[*OFTEN, *SELDOM])
def chosen(request: pytest.FixtureRequest) -> TrainConfig:
    return config(**SAVING, **KINDS[request.param])


def test_a_killed_training_goes_on_to_the_same_bits(dataset: Dataset, chosen: TrainConfig, tmp_path: Path) -> None:
    arguments = dataset, hours(0, 40), None, chosen
    counting = Dies(10_000)
    expected = weights(full_update(*arguments, tmp_path / "whole", progress=counting))
    total, out, checkpoints = 10_000 - counting.left, tmp_path / "out", tmp_path / "checkpoints"
    kills = np.random.default_rng(len(expected)).integers(2, total // 3, 3)
    for after in kills:
        with pytest.raises(KilledError):
            full_update(*arguments, out, progress=Dies(int(after)), checkpoints=checkpoints)
        assert not out.exists()
    resumed = Dies(10_000)
    files = full_update(*arguments, out, progress=resumed, checkpoints=checkpoints)
    assert weights(files) == expected
    # Each killed one had learned a batch that it had not saved yet.
    assert 10_000 - resumed.left == total - (kills - 1).sum() < total
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def killed_child(data: Path, out: Path, checkpoints: Path) -> None:
    full_update(
        Dataset.open(data), hours(0, 40), None, config(**SAVING), out, progress=Dead(9), checkpoints=checkpoints
    )


def test_so_does_a_process_that_was_killed(dataset: Dataset, tmp_path: Path) -> None:
    arguments = dataset.path, tmp_path / "out", tmp_path / "checkpoints"
    child = multiprocessing.get_context("fork").Process(target=killed_child, args=arguments)
    child.start()
    child.join(90)
    assert child.exitcode == -signal.SIGKILL
    files = full_update(dataset, hours(0, 40), None, config(**SAVING), arguments[1], checkpoints=arguments[2])
    plain = full_update(dataset, hours(0, 40), None, config(**SAVING), tmp_path / "plain")
    assert weights(files) == weights(plain)


def test_a_checkpoint_of_another_training_is_not_used(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, code in ((1, "0.1.0+a"), (2, "0.1.0+a"), (2, "0.1.0+b")):
        monkeypatch.setattr(update, "code_version", lambda code=code: code)
        watching, chosen = Dies(3), config(**SAVING, seed=seed)
        with pytest.raises(KilledError):
            full_update(
                dataset,
                hours(0, 40),
                None,
                chosen,
                tmp_path / "out",
                progress=watching,
                checkpoints=tmp_path / "checkpoints",
            )
        assert watching.done == 0


def test_nor_is_one_of_other_mined_negatives_or_other_features(tmp_path: Path) -> None:
    dataset, users = make(tmp_path / "data"), np.repeat(np.arange(50), 2)
    for name, items in (("one", [101, 102]), ("other", [131, 132])):
        write_mined(tmp_path / name, [(users, np.tile(items, 50), np.tile([101, 102], 50))])
    checkpoints, chosen = tmp_path / "checkpoints", config(**SAVING, negatives={"uniform": 8, "mined": 2})

    def found(mined: str) -> int:
        """Positives that the killed training before this one left learned."""
        watching, data = Dies(3), Dataset.open(dataset.path)
        arguments = data, hours(0, 40), None, chosen, tmp_path / "out"
        with pytest.raises(KilledError):
            full_update(
                *arguments, beside=SideInputs(mined=tmp_path / mined), progress=watching, checkpoints=checkpoints
            )
        return watching.done

    assert found("one") == 0
    assert found("one") > 0
    assert found("other") == 0
    for table, column in (("users", "kind"), ("items", "tags")):
        path = dataset.path / table / "part-0.parquet"
        rows = pq.read_table(path)
        place, values = rows.schema.get_field_index(column), rows[column].to_pylist()
        # Other values in another order first, then one that the vocabulary, and so the tower, has no row for yet.
        for changed in (values[::-1], ["new" if column == "kind" else ["new"], *values[1:]]):
            pq.write_table(rows.set_column(place, column, pa.array(changed)), path)
            assert found("other") == 0
    assert found("other") > 0


def test_a_damaged_checkpoint_is_named(dataset: Dataset, tmp_path: Path) -> None:
    arguments = dataset, hours(0, 40), None, config(**SAVING), tmp_path / "out"
    with pytest.raises(KilledError):
        full_update(*arguments, progress=Dies(4), checkpoints=tmp_path / "checkpoints")
    (kept,) = (tmp_path / "checkpoints").iterdir()
    np.save(kept / "users.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(IntegrityError, match=r"damaged .* remove it to train from the beginning"):
        full_update(*arguments, checkpoints=tmp_path / "checkpoints")


def test_one_that_a_kill_left_half_removed_is_none(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = tmp_path / "checkpoints"

    def killed(seed: int, after: int) -> Dies:
        watching, chosen = Dies(after), config(**SAVING, seed=seed)
        with pytest.raises(KilledError):
            full_update(
                dataset, hours(0, 40), None, chosen, tmp_path / "out", progress=watching, checkpoints=checkpoints
            )
        return watching

    def removes_half(path: Path | str, *args: object, **kwargs: object) -> None:
        for half in Path(path).rglob("progress.json"):
            half.unlink()
            raise KilledError

    assert killed(1, 3).done == 0
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", removes_half)
        killed(2, 3)  # what belongs to seed 1 is being removed
    assert killed(2, 3).done == 0
    assert killed(2, 3).done > 0


class Scripted:
    """A validator that says what it was told to."""

    def __init__(self, *values: float) -> None:
        self.values, self.asked = list(values), 0
        self.vectors: list[np.ndarray] = []

    def __call__(self, towers: OpenedTowers) -> float:
        self.vectors.append(towers.item_vectors())
        self.asked += 1
        return self.values[self.asked - 1]


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best(dataset: Dataset, tmp_path: Path) -> None:
    chosen = config(bootstrap_epochs=20, patience=2)
    validator = Scripted(0.1, 0.3, 0.2, 0.25, 0.9)
    files = full_update(dataset, hours(0, 40), None, chosen, tmp_path / "out", validator=validator)
    assert (validator.asked, files.metrics()["best_epoch"]) == (4, 2)
    assert files.metrics()["validations"] == [0.1, 0.3, 0.2, 0.25]
    assert len(files.metrics()["losses"]) == 4
    as_long = full_update(dataset, hours(0, 40), None, config(bootstrap_epochs=2), tmp_path / "two")
    for name in ("users/rows.npy", "items/rows.npy", "towers.safetensors"):
        assert checksum_file(files.folder / name) == checksum_file(as_long.folder / name)


def test_the_end_of_the_window_is_held_back_for_validation(dataset: Dataset, tmp_path: Path) -> None:
    chosen = config(bootstrap_epochs=3, validation={"hours": 5, "metric": "recall@10"})
    files = full_update(dataset, hours(0, 40), None, chosen, tmp_path / "out")
    assert files.lineage.window == hours(0, 35)
    assert 0.3 < max(files.metrics()["validations"]) <= 1
    with pytest.raises(ConfigError, match="holds back the whole window"):
        full_update(dataset, hours(0, 5), None, chosen, tmp_path / "other")


def test_a_version_with_a_parent_has_no_epochs_to_choose_among(dataset: Dataset, tmp_path: Path) -> None:
    first = full_update(dataset, hours(0, 10), None, config(bootstrap_epochs=1), tmp_path / "first")
    held_back = config(validation={"hours": 5, "metric": "recall@10"})
    for chosen, validator in ((held_back, None), (config(), Scripted(0.1))):
        with pytest.raises(ConfigError, match="validation chooses among the epochs of a first version"):
            full_update(dataset, hours(10, 40), first, chosen, tmp_path / "next", validator=validator)


def test_what_cannot_be_is_said_before_any_work(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "train", None)
    with pytest.raises(ConfigError, match="PyTorch finds no CUDA device"):
        full_update(dataset, hours(0, 40), None, config(device="cuda"), tmp_path / "out")
    (tmp_path / "there").mkdir()
    with pytest.raises(ConflictError, match="exists already"):
        full_update(dataset, hours(0, 40), None, config(), tmp_path / "there")


def test_a_refused_training_leaves_nothing(dataset: Dataset, tmp_path: Path) -> None:
    wild = config(**SAVING, optimiser={"table_learning_rate": 1e38})
    with pytest.raises(GateError):
        full_update(dataset, hours(0, 40), None, wild, tmp_path / "out", checkpoints=tmp_path / "checkpoints")
    assert list(tmp_path.iterdir()) == []
