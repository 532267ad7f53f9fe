"""Several processes take the steps that one would take alone, on the same positives and candidates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributed

from pagoda.config.training import DropoutConfig
from pagoda.data.dataset import Dataset
from pagoda.processes.together import run_together
from pagoda.training.batches.batcher import Batch
from pagoda.training.distributed.one_machine import beside_each_other
from pagoda.training.full.preparation import prepare
from pagoda.training.learner.optimisers import adagrad_step
from pagoda.training.share import WHOLE, Share
from pagoda.training.tables import TrainableTable
from tests.training.distributed.steps import losses_of
from tests.training.worlds import config, hours, make

torchrec = pytest.mark.skipif(
    find_spec("torchrec") is None, reason="TorchRec is not installed: see requirements/distributed.txt"
)
HOW = """
batch_size: 32
bootstrap_epochs: 3
shuffle_rows: 400
dropout: {user: 0.5, item: 0, profile: 0, history: 0.1}
model:
  dim: 8
  feature_dim: 4
"""
NOTHING_HIDDEN = DropoutConfig(user=0, item=0, profile=0, history=0)
CONFIGS = {
    "softmax over the batch and draws": "negatives: {uniform: 16}",
    "single negatives": "{negatives: {popularity: 16}, objective: {kind: triplet_hinge}}",
    "fewer positives than a process needs to have some in each batch": "{batch_size: 6, bootstrap_epochs: 1}",
    "a temperature of all": "objective: {learn_temperature: true}",
}


def _whole(changes: str) -> str:
    return yaml.safe_dump(yaml.safe_load(HOW) | yaml.safe_load(changes))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make(tmp_path_factory.mktemp("world") / "data", total_hours=30)


@torchrec
def test_two_processes_have_the_losses_of_one_with_as_large_batches(dataset: Dataset, tmp_path: Path) -> None:
    configs, said = [_whole(changes) for changes in CONFIGS.values()], tmp_path / "said"
    arguments, told = (str(dataset.path), json.dumps(configs)), list[str]()
    steps = beside_each_other(2, "tests.training.distributed.steps", *arguments, folder=tmp_path)
    assert run_together(steps, said, told.append) == {0: 0, 1: 0}, said.read_text()[-4000:]
    of_two = json.loads(told[-1])
    for name, how, losses in zip(CONFIGS, configs, of_two, strict=True):
        alone = losses_of(None, dataset, how)
        assert len(losses) == len(alone) >= 50, name
        assert np.abs(np.subtract(losses, alone)).max() < 1e-4, name


@torchrec
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.sampled_from([0.1, 0.02, 0.5]), min_size=1, max_size=4))
def test_rows_that_torchrec_keeps_take_our_steps(group: None, seed: int, rates: list[float]) -> None:
    from pagoda.training.distributed.item_rows import ShardedRows

    generator = torch.Generator().manual_seed(seed)
    ours = TrainableTable.first(np.arange(30), 8, generator)
    ours.squares += torch.rand(31, generator=generator) * (torch.rand(31, generator=generator) < 0.5)
    theirs = ShardedRows(ours, torch.device("cpu"))
    for rate in rates:
        places = torch.randperm(31, generator=generator)[:9]
        gradients = torch.randn(9, 8, generator=generator)
        rows = theirs.lookup(places, rate)
        assert torch.allclose(rows, ours.rows[places], atol=1e-6)
        (rows * gradients).sum().backward()  # type: ignore[no-untyped-call]
        adagrad_step(ours, places, [gradients], rate)
    assert torch.allclose(theirs.own.rows, ours.rows, atol=1e-6)
    assert torch.allclose(theirs.own.squares, ours.squares, rtol=1e-5)


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield None
    distributed.destroy_process_group()


@settings(max_examples=8, deadline=None)
@given(count=st.integers(2, 5), size=st.integers(5, 90), seed=st.integers(0, 99))
def test_processes_make_one_batch_of_distinct_candidates(dataset: Dataset, count: int, size: int, seed: int) -> None:
    alone = _first_batches(dataset, WHOLE, size, seed)
    shared = [_first_batches(dataset, Share(rank, count), size, seed) for rank in range(count)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert sum(len(part) for part in parts) == len(whole) == parts[0].of_all
        # The global batch's candidates, each once, and how probable each was: alike for all.
        for part in parts:
            assert torch.equal(part.places, whole.places) and torch.equal(part.log_missed, whole.log_missed)
        # Each candidate is computed by one process, and each positive learned by one.
        assert torch.equal(torch.cat([_computed(part) for part in parts]), _computed(whole))
        of_parts = torch.cat([part.targets for part in parts])
        assert torch.equal(of_parts.sort().values, whole.targets.sort().values)


def test_a_block_without_a_user_of_a_process_is_a_step_of_it_nevertheless(dataset: Dataset) -> None:
    parts = [prepare(dataset, hours(0, 1), None, config(shuffle_rows=3), share=Share(rank, 4)) for rank in range(4)]
    for blocks in zip(*(part.stream.blocks(final=True) for part in parts), strict=True):
        steps = [
            list(part.batcher(NOTHING_HIDDEN, 0).batches(block, 64)) for part, block in zip(parts, blocks, strict=True)
        ]
        assert {len(batches) for batches in steps} == {1}
        assert sum(len(batch) for (batch,) in steps) == steps[0][0].of_all


def _computed(batch: Batch) -> torch.Tensor:
    """Rows of the candidates that a process computes."""
    return batch.item_rows[batch.candidate_of]


def _first_batches(dataset: Dataset, share: Share, size: int, seed: int) -> list[Batch]:
    prepared = prepare(dataset, hours(0, 20), None, config(batch_size=size), share=share)
    (block,) = prepared.stream.blocks(final=True)
    return list(prepared.batcher(NOTHING_HIDDEN, seed).batches(block, size))[:4]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), unique=True), st.integers(1, 9))
def test_each_user_is_one_process_s(users: list[int], count: int) -> None:
    ids = np.array(users, np.int64)
    assert (sum(Share(rank, count).has(ids).astype(int) for rank in range(count)) == 1).all()


@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_lie_one_after_the_other(size: int, count: int) -> None:
    parts = [np.arange(size)[Share(rank, count).part(size)] for rank in range(count)]
    assert np.concatenate(parts).tolist() == list(range(size))
    assert max(len(part) for part in parts) <= WHOLE.each(size) and len(parts[0]) == Share(0, count).each(size)


@pytest.mark.parametrize("rows", [3, 70_000])
def test_rows_begin_alike_however_many_share_them(rows: int) -> None:
    ids = np.arange(rows) * 7
    whole = TrainableTable.first(ids, 4, torch.Generator().manual_seed(1))
    for rank in range(3):
        mine = Share(rank, 3).has(ids)
        generator = torch.Generator().manual_seed(1)
        part = TrainableTable.first(ids[mine], 4, generator, elsewhere=ids[~mine])
        assert torch.equal(part.rows, whole.rows[np.append(0, whole.places(ids[mine]))])
        assert torch.equal(torch.randn(3, generator=generator), _next_draw(ids))


def _next_draw(ids: np.ndarray) -> torch.Tensor:
    """What a generator gives that has drawn a table."""
    generator = torch.Generator().manual_seed(1)
    TrainableTable.first(ids, 4, generator)
    return torch.randn(3, generator=generator)
