"""A teacher of our own, where there is no ranker: it learns a window, and scores what a version found for its users."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pagoda.config.model import ModelConfig
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError, GateError
from pagoda.model.ranker import TargetAttentionRanker
from pagoda.model.table_inputs import no_histories
from pagoda.model.tensors import tensors
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.model.user_moments import user_moments
from pagoda.storage.atomic import move_durably
from pagoda.training.batches.prefetch import ahead
from pagoda.training.device import few_threads
from pagoda.training.examples.stream import Block
from pagoda.training.full.loop import Progress
from pagoda.training.full.preparation import Prepared, prepare
from pagoda.training.learner.optimisers import adagrad_step, dense_optimiser
from pagoda.training.negatives.mined_file import read_lists

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
RANKS = (1, 200)
"""Of what a version finds for a user, which is scored."""
_SHOWN = "impression"
_BESIDE_SHOWN, _ALONE = 1, 8
"""Negatives of an example, drawn evenly from all items: beside what was shown, since most of what is scored never was;
and where nothing else says what a user did not choose."""
_AHEAD = 8
_USERS = 64
"""Scored at a time."""
_SCHEMA = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("score", pa.float32())])


@dataclass(frozen=True)
class _Lists:
    """Items of B users each."""

    keys: UserKeys[Tensor]
    """Items of histories by which of `item_rows` they are."""
    item_rows: Tensor
    """int64 [R]: distinct places in the item table."""
    candidate_of: Tensor
    """int64 [M]: which of `item_rows` the M distinct items have."""
    item_features: dict[str, Tensor]
    """Of the M distinct items."""
    chosen: Tensor
    """int64 [B, n]: which of the M items are each user's."""


class OwnTeacher:
    """A ranker, and the rows of items that it reads."""

    def __init__(self, prepared: Prepared, like: TrainConfig) -> None:
        """Make one that has learned nothing yet; the item table of `prepared` becomes its own."""
        fields = (prepared.encoder.fields(tower) for tower in ("user", "item"))
        dataset, window = prepared.stream.dataset, prepared.stream.window
        shown = next(dataset.batches(window, events=[_SHOWN], columns=["timestamp"], batch_rows=1), None) is not None
        self._drawn = _BESIDE_SHOWN if shown else _ALONE
        self._stream = replace(prepared.stream, others=(_SHOWN,) if shown else ())
        self._catalogue, self._ids = prepared.catalogue, prepared.survey.catalogue
        self._items, self._how = prepared.learner.items, like
        self._ranker = TargetAttentionRanker(like.model.dim, like.model.feature_dim, *fields)
        self._optimiser = dense_optimiser(self._ranker, like.optimiser)

    @classmethod
    def trained(cls, dataset: Dataset, window: Window, like: TrainConfig, progress: Progress) -> OwnTeacher:
        """Train one on a window, from nothing.

        Args:
            dataset: Declares histories. Where the window has impressions, each is an example, a positive another.
            window: What it learns.
            like: Of a version, whose seed, batches, epochs, dimensions and optimiser (without `cooldown`) it has too.
            progress: Watches.

        Raises:
            ConfigError: The dataset declares no history.
            DataError: The window has no positive.
            GateError: A loss is not finite.
        """
        if dataset.spec.history is None:
            raise ConfigError(
                f"{dataset.path}/features.yaml declares no history, and a teacher of our own attends to one; "
                "take another ranker's scores"
            )
        how = _alike(like)
        prepared = prepare(dataset, window, None, how)
        with torch.random.fork_rng(devices=[]), few_threads():
            torch.manual_seed(how.seed)
            teacher = cls(prepared, how)
            teacher._learn(prepared.survey.positives, progress)
        return teacher

    def write_scores(self, found: Path, out: Path) -> int:
        """Score what was found for users, and return the number of rows. Memory follows a million of them.

        Args:
            found: A file of `pagoda mine`.
            out: A Parquet file as `--teacher` takes it: user_id, item_id (int64 as inside), score (float32, logit).
                What was there is replaced, when all is written.

        Raises:
            DataError: `found` cannot be read.
        """
        aside, rows = out.with_name(f".{out.name}.part"), 0
        try:
            with pq.ParquetWriter(aside, _SCHEMA, compression="zstd") as writer:
                for users, items in read_lists(found, _USERS):
                    there = items >= 0
                    owners = np.broadcast_to(users[:, None], items.shape)[there]
                    scores = self.logits(users, items)[there]
                    writer.write_table(pa.table([owners, items[there], scores], schema=_SCHEMA))
                    rows += len(scores)
            move_durably(aside, out)
        finally:
            aside.unlink(missing_ok=True)
        return rows

    def logits(self, users: Int64Array, items: Int64Array) -> Float32Array:
        """Score items int64 [B, n] of users int64 [B], by ID, as of the window's end: float32 [B, n].

        An item that is none of the dataset's is scored as another; whoever asks leaves it out.
        """
        stream, moments = self._stream, np.full(len(users), self._stream.window.end_us)
        past = stream.after.read(users, moments) if stream.after else no_histories(len(users))
        past, known = replace(past, items=self._items.places(past.items)), pa.table({"user_id": users})
        told = user_moments(stream.dataset, stream.encoder, users, moments, histories=past, context=known)
        places = np.minimum(np.searchsorted(self._ids, items), len(self._ids) - 1)
        lists = self._lists(told.keys(np.arange(len(users))), places)
        with torch.inference_mode():
            scores: Float32Array = self._scores(lists, self._items.rows[lists.item_rows]).numpy()
        return scores

    def _learn(self, positives: int, progress: Progress) -> None:
        progress.begin(positives, self._how.bootstrap_epochs)
        with closing(ahead(self._batches(), _AHEAD)) as batches:
            for lists, wanted, weights in batches:
                loss = self._step(lists, wanted, weights)
                if not math.isfinite(loss):
                    raise GateError(
                        f"the teacher's loss is {loss} in {self._stream.window.key}; lower "
                        "optimiser.table_learning_rate or optimiser.dense_learning_rate of the version"
                    )
                progress.advance(int(wanted.sum()), loss)

    def _batches(self) -> Iterator[tuple[_Lists, Tensor, Tensor | None]]:
        for epoch in range(self._how.bootstrap_epochs):
            for block in self._stream.blocks(final=epoch == self._how.bootstrap_epochs - 1):
                rng = np.random.default_rng((self._how.seed, epoch, block.number))
                order = rng.permutation(len(block))
                for rows in np.array_split(order, -(-len(order) // self._how.batch_size)):
                    yield self._examples(block, rows, rng)

    def _examples(
        self, block: Block, rows: Int64Array, rng: np.random.Generator
    ) -> tuple[_Lists, Tensor, Tensor | None]:
        """Some rows of a block, with 1 or 0 for each item, float32 [B, 1 + drawn], and what they weigh, float32 [B]."""
        drawn = rng.integers(len(self._ids), size=(len(rows), self._drawn))
        items = np.column_stack([block.items[rows], drawn])
        wanted = np.zeros(items.shape, np.float32)
        wanted[:, 0] = 1 if block.events is None else block.events[rows] == 0
        weights = None if block.weights is None else torch.from_numpy(block.weights[rows])
        return self._lists(block.moments.keys(rows), items), torch.from_numpy(wanted), weights

    def _lists(self, keys: UserKeys[Array], items: Int64Array) -> _Lists:
        """Put together users with histories by place in the item table, and items by place in the catalogue."""
        distinct, chosen = np.unique(items, return_inverse=True)
        own, past = self._catalogue.rows[distinct], keys.history_items
        rows, of = np.unique(np.concatenate([own, past.ravel()]), return_inverse=True)
        return _Lists(
            keys=replace(keys, history_items=of[len(own) :].reshape(past.shape)).tensors(),
            item_rows=torch.from_numpy(rows),
            candidate_of=torch.from_numpy(of[: len(own)]),
            item_features=tensors(self._catalogue.features, distinct),
            chosen=torch.from_numpy(chosen.reshape(items.shape)),
        )

    def _step(self, lists: _Lists, wanted: Tensor, weights: Tensor | None) -> float:
        """Take one step by the binary cross-entropy, unless that is not finite."""
        rows = self._items.rows[lists.item_rows].requires_grad_()
        scores = self._scores(lists, rows)
        losses = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none").sum(1)
        loss = (losses if weights is None else losses * weights).mean()
        if torch.isfinite(loss):
            parameters = list(self._ranker.parameters())
            gradient, *dense = torch.autograd.grad(loss, [rows, *parameters])
            for parameter, its in zip(parameters, dense, strict=True):
                parameter.grad = its
            self._optimiser.step()
            how = self._how.optimiser
            adagrad_step(self._items, lists.item_rows, [gradient], how.table_learning_rate, how.table_memory)
        return float(loss.detach())

    def _scores(self, lists: _Lists, rows: Tensor) -> Tensor:
        history = functional.embedding(lists.keys.history_items, rows)
        # No rows of users: it says the same of those who did the same.
        inputs = lists.keys.with_rows(history.new_empty(len(history), 0), history)
        items = functional.embedding(lists.candidate_of, rows)
        scores: Tensor = self._ranker(inputs, items, lists.item_features, lists.chosen)
        return scores


def _alike(like: TrainConfig) -> TrainConfig:
    """What a ranker has of how a version is trained."""
    return TrainConfig(
        seed=like.seed,
        batch_size=like.batch_size,
        bootstrap_epochs=like.bootstrap_epochs,
        shuffle_rows=like.shuffle_rows,
        model=ModelConfig(dim=like.model.dim, feature_dim=like.model.feature_dim),
        optimiser=like.optimiser,
    )
