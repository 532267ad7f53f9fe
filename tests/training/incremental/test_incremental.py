"""What an incremental update promises: only users' rows change, by each interaction once, at the cost of the delta."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda.config.incremental import IncrementalConfig
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_files import SavedHistories
from pagoda.data.history.history_state import HistoryState
from pagoda.data.spec import History
from pagoda.data.window import Window
from pagoda.embeddings.overlay import Overlay
from pagoda.embeddings.segment import Segment
from pagoda.errors import ConfigError, IntegrityError
from pagoda.model.table_inputs import histories_at
from pagoda.storage.checksums import checksum_file
from pagoda.training.full.update import full_update
from pagoda.training.incremental.examples import histories_before
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.invariance_check import check_incremental
from pagoda.training.incremental.item_chances import CountedChances, StreamedChances
from pagoda.training.incremental.learner import draw
from pagoda.training.incremental.update import count_late, incremental_update
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.incremental import IncrementalFiles, chain_of
from pagoda.version_files.open_version import OpenVersion
from tests.training.worlds import CONFIG, IDS_ALONE, SPEC, hours, make


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """60 hours of clicks; ten users appear after hour 40."""
    return make(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="module")
def base(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FullVersionFiles:
    """A full version that has learned the first 38 hours."""
    return full_update(dataset, hours(0, 38), None, CONFIG, tmp_path_factory.mktemp("base") / "out")


@pytest.fixture
def frozen(base: FullVersionFiles, dataset: Dataset) -> FrozenBase:
    """The base, opened."""
    return FrozenBase(base, dataset, 1)


def learn(base: FrozenBase, window: Window, out: Path, parent: IncrementalFiles | None = None) -> IncrementalFiles:
    files = incremental_update(base.dataset, window, base, parent, CONFIG, out=out)
    assert files is not None
    return files


def positives(dataset: Dataset, window: Window) -> np.ndarray:
    batches = dataset.batches(window, events=dataset.spec.positives, columns=["user_id"])
    return np.unique(np.concatenate([batch["user_id"].to_numpy() for batch in batches]))


def test_changes_the_rows_of_who_did_something_and_no_others(frozen: FrozenBase, tmp_path: Path) -> None:
    files = learn(frozen, hours(38, 44), tmp_path / "out")
    touched = positives(frozen.dataset, hours(38, 44))
    np.testing.assert_array_equal(files.delta.ids, touched)
    before, known = frozen.users.lookup(touched)
    assert (np.abs(files.delta.rows - before).max(axis=1) > 0).all()
    assert files.description.new_users == (~known).sum() > 0
    assert sorted(path.name for path in files.folder.rglob("*") if path.is_file()) == [
        "ids.npy",
        "rows.npy",
        "segment.json",
    ]


def test_gives_the_same_bits_twice(frozen: FrozenBase, tmp_path: Path) -> None:
    first, second = (learn(frozen, hours(38, 42), tmp_path / name) for name in ("a", "b"))
    assert first.delta.checksum == second.delta.checksum


def test_goes_on_from_its_parent(frozen: FrozenBase, tmp_path: Path) -> None:
    first = learn(frozen, hours(38, 41), tmp_path / "1")
    second = learn(frozen, hours(41, 44), tmp_path / "2", first)
    assert second.delta.description.parent == first.delta.checksum
    both = np.intersect1d(first.delta.ids, second.delta.ids)
    squares = [files.rows.squares[files.delta.find(both)[0]] for files in (first, second)]
    assert (squares[1] > squares[0]).all()


def test_moves_a_user_towards_what_they_chose(dataset: Dataset, frozen: FrozenBase, tmp_path: Path) -> None:
    files = learn(frozen, hours(38, 60), tmp_path / "out")
    window = hours(38, 60)
    batches = list(dataset.batches(window, events=dataset.spec.positives))
    users, items = (np.concatenate([batch[name].to_numpy() for batch in batches]) for name in ("user_id", "item_id"))
    state, moments = histories_at(dataset, window.end, None, None), np.full(len(users), window.end_us)
    assert state is not None
    opened = OpenVersion(frozen.files, dataset)
    chosen = opened.item_vectors()[np.searchsorted(frozen.item_ids, items)]
    cosines = [
        (one.user_vectors(users, moments, state.read(users, moments)) * chosen).sum(1).mean()
        for one in (opened, opened.under(Overlay(frozen.users, [files.delta])))
    ]
    assert cosines[1] > cosines[0]


def test_a_window_without_a_positive_is_nothing_and_says_so(frozen: FrozenBase, tmp_path: Path) -> None:
    window = Window(start=hours(38, 39).start, end=hours(38, 39).start.replace(microsecond=1))
    assert incremental_update(frozen.dataset, window, frozen, None, CONFIG, out=tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


def test_refuses_a_window_that_does_not_begin_at_the_watermark(frozen: FrozenBase, tmp_path: Path) -> None:
    first = learn(frozen, hours(38, 40), tmp_path / "1")
    for window, parent in (
        (hours(37, 40), None),
        (hours(39, 40), None),
        (hours(39, 42), first),
        (hours(41, 42), first),
    ):
        with pytest.raises(ConfigError, match="watermark"):
            incremental_update(frozen.dataset, window, frozen, parent, CONFIG, out=tmp_path / "2")


def test_without_a_history(tmp_path: Path) -> None:
    dataset = make(tmp_path / "data", IDS_ALONE)
    base = FrozenBase(full_update(dataset, hours(0, 38), None, CONFIG, tmp_path / "base"), dataset)
    first = learn(base, hours(38, 40), tmp_path / "1")
    learn(base, hours(40, 42), tmp_path / "2", first).verify()


def test_which_event_each_was_goes_on_from_version_to_version(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"history": History(length=5, events=("click", "like"), embed_event=True)})
    dataset = make(tmp_path / "data", spec)
    base = FrozenBase(full_update(dataset, hours(0, 38), None, CONFIG, tmp_path / "base"), dataset)
    assert base.towers.user.events is not None and base.towers.user.events.weight[1:].any()
    first = learn(base, hours(38, 40), tmp_path / "1")
    second = learn(base, hours(40, 43), tmp_path / "2", first)
    second.verify()
    users, moment = np.arange(60), np.full(60, hours(0, 43).end_us)
    state, whole = HistoryState(5, kinds=True), histories_at(dataset, hours(0, 43).end, None, None)
    state.push(*histories_before(base, second, users).in_time_order())
    assert whole is not None
    mine, expected = state.read(users, moment).padded(), whole.read(users, moment).padded()
    assert expected.kinds is not None and set(np.unique(expected.kinds[expected.mask])) == {1, 2}
    for ours, theirs in zip(mine, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    child = full_update(dataset, hours(38, 43), base.files, CONFIG, tmp_path / "child").history()
    assert child is not None
    np.testing.assert_array_equal(child.read(users, moment).padded().kinds, expected.kinds)


@settings(max_examples=5)
@given(cuts=st.lists(st.integers(39, 59), min_size=1, max_size=4, unique=True).map(sorted))
def test_histories_go_on_as_if_the_log_had_been_read_from_its_beginning(
    base: FullVersionFiles, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder, parent, start = tmp_path_factory.mktemp("chain"), None, 38
    frozen = FrozenBase(base, dataset)
    for end in cuts:
        parent = learn(frozen, hours(start, end), folder / str(end), parent)
        start = end
    users, moment = np.arange(60), np.full(60, hours(0, start).end_us)
    state = HistoryState(5)
    state.push(*histories_before(frozen, parent, users).in_time_order())
    whole = histories_at(frozen.dataset, hours(0, start).end, None, None)
    assert whole is not None
    for mine, expected in zip(state.read(users, moment).padded(), whole.read(users, moment).padded(), strict=True):
        np.testing.assert_array_equal(mine, expected)


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99), st.integers(0, 20)), max_size=60),
    asked=st.sets(st.integers(0, 12)),
)
def test_saved_histories_of_a_few_users(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int]], asked: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("saved") / "history"
    state = HistoryState(4)
    events = np.array(sorted(rows, key=lambda row: row[2]), np.int64).reshape(-1, 3)
    state.push(*events.T)
    state.save(folder)
    users = np.array(sorted(asked), np.int64)
    found, again = SavedHistories(folder).of(users), HistoryState(4)
    again.push(*found.in_time_order())
    moment = np.full(len(users), 21)
    for mine, expected in zip(again.read(users, moment).padded(), state.read(users, moment).padded(), strict=True):
        np.testing.assert_array_equal(mine, expected)


def copied(dataset: Dataset, path: Path, change: dict[str, pa.Table]) -> Dataset:
    """The dataset with other interactions on some dates."""
    path.mkdir()
    for file in dataset.path.rglob("*"):
        if file.is_file():
            target = path / file.relative_to(dataset.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    for name, table in change.items():
        pq.write_table(table.sort_by("timestamp"), path / name)
    return Dataset.open(path)


def test_what_was_logged_twice_is_learned_once(
    dataset: Dataset, frozen: FrozenBase, base: FullVersionFiles, tmp_path: Path
) -> None:
    name = "interactions/date=1970-01-02/part-0.parquet"
    day = pq.read_table(dataset.path / name)
    doubled = copied(dataset, tmp_path / "data", {name: pa.concat_tables([day, day])})
    once, twice = learn(frozen, hours(38, 44), tmp_path / "1"), FrozenBase(base, doubled, 1)
    again = learn(twice, hours(38, 44), tmp_path / "2")
    assert again.delta.checksum == once.delta.checksum
    assert (once.description.duplicates, again.description.duplicates) == (0, once.description.interactions)


def test_what_comes_too_late_is_counted_and_left(dataset: Dataset, frozen: FrozenBase, tmp_path: Path) -> None:
    first = learn(frozen, hours(38, 39), tmp_path / "1")
    assert count_late(dataset, hours(39, 40), first, CONFIG) == 0
    name = "interactions/date=1970-01-02/part-0.parquet"
    day = pq.read_table(dataset.path / name)
    moments = day.column("timestamp").cast(pa.int64()).to_numpy()
    within = (moments >= hours(38, 39).start_us) & (moments < hours(38, 39).end_us)
    late = day.filter(pa.array(within & (day.column("event").to_numpy() == "click"))).slice(0, 3)
    grown = copied(dataset, tmp_path / "data", {name: pa.concat_tables([day, late])})
    assert learn(FrozenBase(frozen.files, grown, 1), hours(39, 40), tmp_path / "2", first).description.late == 3


def flip(tensor: torch.Tensor) -> None:
    """Change the last bit of the first number."""
    tensor.reshape(-1).view(torch.int32)[0] ^= 1


@pytest.mark.parametrize("part", ["user tower", "item tower", "item vectors"])
def test_one_bit_changed_while_learning_is_caught(frozen: FrozenBase, tmp_path: Path, part: str) -> None:
    if part == "item vectors":
        flip(frozen.item_vectors)
    else:
        flip(next(iter(getattr(frozen.towers, part.split(maxsplit=1)[0]).projection.parameters())).data)
    with pytest.raises(IntegrityError, match="changed while"):
        learn(frozen, hours(38, 40), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def registered(base: FullVersionFiles) -> dict[str, str]:
    files = (path for path in base.folder.rglob("*") if path.is_file())
    return {path.relative_to(base.folder).as_posix(): checksum_file(path) for path in files}


@pytest.fixture
def vectors(base: FullVersionFiles, dataset: Dataset, tmp_path: Path) -> Path:
    """The base's item vectors as exported."""
    computed = OpenVersion(base, dataset).item_vectors()
    kind = pa.list_(pa.float32(), computed.shape[1])
    column = pa.FixedSizeListArray.from_arrays(pa.array(computed.ravel()), type=kind)
    pq.write_table(pa.table({"item_id": dataset.items()["item_id"], "vector": column}), tmp_path / "vectors.parquet")
    return tmp_path / "vectors.parquet"


def test_passes_the_check_before_registration(
    base: FullVersionFiles, dataset: Dataset, vectors: Path, tmp_path: Path
) -> None:
    files = learn(FrozenBase(base, dataset, 3, vectors=vectors), hours(38, 40), tmp_path / "out")
    check_incremental(files, 3, registered(base), vectors)


@pytest.mark.parametrize("part", ["towers.safetensors", "items/rows.npy", "users/rows.npy"])
def test_is_not_registered_over_another_base(
    base: FullVersionFiles, dataset: Dataset, vectors: Path, tmp_path: Path, part: str
) -> None:
    files = learn(FrozenBase(base, dataset, 3, vectors=vectors), hours(38, 40), tmp_path / "out")
    other = registered(base) | {part: "xxh3:0"}
    with pytest.raises(IntegrityError, match=part):
        check_incremental(files, 3, other, vectors)


def test_is_not_registered_with_anything_but_a_segment(
    base: FullVersionFiles, dataset: Dataset, vectors: Path, tmp_path: Path
) -> None:
    files = learn(FrozenBase(base, dataset, 3, vectors=vectors), hours(38, 40), tmp_path / "out")
    (files.folder / "towers.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError, match="holds"):
        check_incremental(files, 3, registered(base), vectors)


def test_is_not_registered_for_another_version(
    base: FullVersionFiles, dataset: Dataset, vectors: Path, tmp_path: Path
) -> None:
    files = learn(FrozenBase(base, dataset, 3, vectors=vectors), hours(38, 40), tmp_path / "out")
    with pytest.raises(IntegrityError, match="version 4"):
        check_incremental(files, 4, registered(base), vectors)


@pytest.mark.parametrize("name", ["state/squares.npy", "version/segment/rows.npy"])
def test_a_damaged_file_is_named(frozen: FrozenBase, tmp_path: Path, name: str) -> None:
    files = learn(frozen, hours(38, 40), tmp_path / "out")
    path = tmp_path / "out" / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=path.name):
        files.verify()


@given(
    total=st.integers(1, 40),
    count=st.integers(2, 60),
    positives=st.lists(st.integers(0, 39), min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
def test_candidates_hold_the_positives_with_probabilities(
    total: int, count: int, positives: list[int], seed: int
) -> None:
    chosen = np.array(positives) % total
    shares = np.random.default_rng(seed).dirichlet(np.ones(total))
    candidates, log_q = draw(CountedChances(shares), len(shares), chosen, count, np.random.default_rng(seed))
    assert np.isin(chosen, candidates).all()
    assert (np.diff(candidates) > 0).all() and len(candidates) >= min(total, count)
    assert np.isfinite(log_q).all() and (log_q <= 0).all()
    if count >= total:
        assert not log_q.any()


def test_a_stream_says_how_often_items_come_from_update_to_update(frozen: FrozenBase, tmp_path: Path) -> None:
    how = CONFIG.model_copy(
        update={"incremental": IncrementalConfig(candidates=10, batch_size=8, correction="streaming")}
    )
    parent: IncrementalFiles | None = None
    for start in (38, 41, 44):
        out = tmp_path / str(start)
        parent = incremental_update(frozen.dataset, hours(start, start + 3), frozen, parent, how, out=out)
        assert parent is not None
        parent.verify()
    chances = StreamedChances(frozen, parent, np.empty(0, np.int64), 8)
    every = np.arange(len(frozen.item_ids))
    before, after = CountedChances(frozen.shares).held(every, 8), chances.held(every, 8)
    clicks = frozen.dataset.batches(hours(38, 47), events=["click"], columns=["item_id"])
    seen = np.isin(frozen.item_ids, np.concatenate([batch["item_id"].to_numpy() for batch in clicks]))
    new = before == 0
    assert (new & seen).any()
    assert ((after[new] > 0) == seen[new]).all()
    np.testing.assert_array_equal(after[~seen], before[~seen])
    assert (after[seen] != before[seen]).mean() > 0.9


def test_a_base_without_user_rows_is_refused(dataset: Dataset, base: FullVersionFiles, tmp_path: Path) -> None:
    folder = shutil.copytree(base.folder, tmp_path / "version")
    model = CONFIG.model.model_dump() | {"user": {"id_row": False}}
    how = TrainConfig.model_validate(CONFIG.model_dump() | {"model": model})
    (folder / "config.yaml").write_text(how.to_yaml())
    with pytest.raises(ConfigError, match="reads no ID row"):
        FrozenBase(FullVersionFiles(folder, base.state), dataset)


def test_the_chain_is_newest_first(frozen: FrozenBase, tmp_path: Path) -> None:
    first = learn(frozen, hours(38, 40), tmp_path / "1")
    second = learn(frozen, hours(40, 42), tmp_path / "2", first)
    assert [files.window for files in chain_of(second)] == [hours(40, 42), hours(38, 40)]
    assert chain_of(None) == ()
    assert isinstance(second.delta, Segment)
