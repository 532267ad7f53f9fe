"""Batches: what one step of training takes, with each ID row that it touches named once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.config.training import DropoutConfig
from pagoda.data.window import from_us
from pagoda.model.encoder import Encoded, Encoder
from pagoda.model.losses.distillation import ScoredItems
from pagoda.model.losses.objective import log_drawn
from pagoda.model.tensors import tensors
from pagoda.model.towers.towers import EXAMPLE_AGE
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.training.batches.augmentation import Augmenter
from pagoda.training.batches.lent_rows import Lender, LentRows
from pagoda.training.examples.repetition import repeated
from pagoda.training.examples.sets import others_of
from pagoda.training.examples.stream import Block
from pagoda.training.negatives.item_choice import Chooser, ChosenItems
from pagoda.training.numbering import Numbering
from pagoda.training.share import WHOLE, Share
from pagoda.training.tables import OOV, RowSums, TrainableTable

Int64Array = NDArray[np.int64]
_US = 1e6
_DAY = 86_400.0


@dataclass(frozen=True)
class Catalogue:
    """All items of the dataset, in ascending order of ID."""

    rows: Int64Array
    """int64 [i]: places in the item table."""
    features: Encoded
    times: NDArray[np.float64] | None = None
    """float64 [i]: how often an epoch learns a positive of each item; None: once."""


class CandidateSource(NamedTuple):
    """Where the candidates of batches come from: of all members of an ensemble, or of one."""

    chooser: Chooser
    log_missed: NDArray[np.float32]
    """float32 [i]: log of the probability not to be a candidate of every user of a batch; what is estimated as batches
    come (see `NegativesConfig.correction`) is no part of it."""

    @property
    def log_q(self) -> NDArray[np.float32]:
        """float32 [i]: log of the probability to be a candidate of a batch."""
        return log_drawn(self.log_missed.astype(np.float64))


class Place(NamedTuple):
    """Where a batch comes in training; all count from 0."""

    epoch: int
    block: int
    batch: int
    """Within the block."""


@dataclass(frozen=True)
class Batch:
    """B positives. `…_rows` are distinct places in a table, `…_of` and `keys` say which of these is whose.

    Where users share rows, `user_sums` says which rows are at their places.
    """

    user_rows: Tensor
    item_rows: Tensor
    keys: UserKeys[Tensor]
    """What the user tower reads; users and items by which of `user_rows` and `item_rows` they are."""
    candidate_of: Tensor
    """int64 [M]: the M distinct items of the batch, by which of `item_rows`, or after these of `lent`, is theirs; where
    several processes take a step together, only of its part of them, `Share.part`."""
    item_features: dict[str, Tensor]
    """Of the same items."""
    places: Tensor
    """int64 [M]: places of the distinct items in the catalogue."""
    log_missed: Tensor
    """float32 [M], as `CandidateSource` has it."""
    targets: Tensor
    """int64 [B]: which of the M distinct items each user chose."""
    place: Place
    moments: str
    """From when to when, for people."""
    of_all: int
    """How many positives take this step: B, and those of other processes."""
    first_shared: int = 0
    negatives: Tensor | None = None
    hard: Tensor | None = None
    """All three as in `pagoda.model.losses.objective.Candidates`."""
    hard_missed: Tensor | None = None
    """As in `pagoda.training.negatives.item_choice.ChosenItems`."""
    weights: Tensor | None = None
    """float32 [B]: what each positive weighs in the loss, 1 on average; None: all alike."""
    scored: ScoredItems | None = None
    irrelevant: Tensor | None = None
    """As in `pagoda.training.negatives.item_choice.ChosenItems`."""
    views: ViewBatch | None = None
    lent: LentRows | None = None
    """What stands for items without a row, where such rows are lent."""
    after: Tensor | None = None
    """int64 [B]: where the histories are sequences for `UserTower.along`, the event that each positive comes after."""
    own: Tensor | None = None
    """int64 [B]: where the histories are sets for `UserTower.without_own`, the event that each positive is."""
    masked: Tensor | None = None
    """As in `pagoda.model.losses.objective.Candidates`."""
    user_sums: RowSums | None = None

    by_member: tuple[Batch, ...] = ()
    """Of an ensemble whose members have candidates of their own: the same positives with those of each."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def touched_users(self) -> Tensor:
        """The rows of the table of users that the batch changes, int64 [k], distinct."""
        return self.user_rows if self.user_sums is None else self.user_sums.rows

    def of_users(self, touched: list[Tensor]) -> list[Tensor]:
        """What is at `user_rows`, float32 [m, rows], given parts [k, rows] of the rows that are touched."""
        return touched if self.user_sums is None else [self.user_sums.of(part) for part in touched]

    def of_member(self, number: int) -> Batch:
        """What a member of an ensemble learns."""
        return self.by_member[number] if self.by_member else self


class BatchPositives(NamedTuple):
    """The positives of a batch, before it is known which others are learned with them."""

    rows: Int64Array
    """int64 [B]: of the block."""
    keys: UserKeys[Array]
    """Users and items as places in their tables."""
    after: Tensor | None = None
    own: Tensor | None = None
    """Both as in `Batch`."""
    sets: Int64Array | None = None
    """int64 [B]: in which of the histories each positive lies, whose items are no negatives of it; None: all are."""
    items: Int64Array | None = None
    """int64 [n], places in the catalogue: what the positives of all processes chose that take this step together; None:
    of the block's rows, since there is one process."""
    mine: Int64Array | slice = slice(None)
    """int64 [B]: which of the n are these."""


@dataclass(frozen=True)
class ViewBatch:
    """Two views of the same items for self-supervision: all first ones, then all others."""

    item_of: Tensor
    """int64 [2 n]: which of the batch's `item_rows`."""
    features: dict[str, Tensor]


class Batcher:
    """Cuts shuffled blocks into batches."""

    def __init__(
        self,
        encoder: Encoder,
        users: TrainableTable,
        items: TrainableTable,
        catalogue: Catalogue,
        *,
        dropout: DropoutConfig,
        seed: int,
        sources: Sequence[CandidateSource],
        augmenter: Augmenter | None = None,
        lender: Lender | None = None,
        age_until_us: int | None = None,
        share: Share = WHOLE,
    ) -> None:
        """Make one.

        Args:
            encoder: Of features.
            users: Table of users.
            items: Table of items.
            catalogue: All items.
            dropout: What is hidden.
            seed: Of all that is drawn.
            sources: Of candidates: one, or one for each member of an ensemble.
            augmenter: Draws views of items, where there is self-supervision.
            lender: Lends candidates without a row those of their categories; None: the out-of-vocabulary row is theirs.
            age_until_us: The moment from which the age of examples counts back; None: they have none.
            share: Which part of each batch is to be made, where several processes take a step together: its users'
                positives, and as large a part of the candidates as anybody's. What all need to agree on is drawn alike
                by each, and the same as by one process alone; what is hidden of histories and items is not.
        """
        self._share = share
        self._sources, self._augmenter, self._lender, self._age_until_us = sources, augmenter, lender, age_until_us
        self._catalogue, self._dropout = catalogue, dropout
        self._seed, self._rng = seed, np.random.default_rng(seed)
        self._table, self._users, self._items = users, Numbering(len(users)), Numbering(len(items))
        self._nobody = encoder.encode_rows("user", [{}])

    def batches(self, block: Block, size: int, epoch: int = 0, skip: int = 0) -> Iterator[Batch]:
        """All positives of `block` (one at least) in random order, in batches of nearly equal size.

        Each comes once, unless the catalogue says otherwise. What is drawn for a batch follows from the seed and its
        place alone, so that a pass can go on after its first `skip` batches as if it had never stopped.
        """
        parts = self._parts(block, size)
        for number in count():
            self._rng = np.random.default_rng((self._seed, epoch, block.number, number))
            if (part := next(parts, None)) is None:
                return
            if number >= skip:
                yield self._batch(block, part, Place(epoch, block.number, number))

    def _parts(self, block: Block, size: int) -> Iterator[BatchPositives]:
        """The positives of each batch."""
        order = self._rng.permutation(self._kept(block.every_item))
        for places in np.array_split(order, -(-len(order) // size)):
            rows, mine = block.own(places)
            keys = block.moments.keys(rows)
            hidden = (self._rng.random(len(places), np.float32) < self._dropout.history)[mine]
            keys.history_mask[hidden], keys.history_age[hidden] = False, 0
            yield BatchPositives(rows, keys, items=block.every_item[places], mine=mine)

    def _batch(self, block: Block, part: BatchPositives, place: Place) -> Batch:
        rows, keys, users = part.rows, part.keys, part.keys.users
        items = block.items[rows] if part.items is None else part.items
        hides = (self._rng.random(len(items), np.float32) < self._dropout.user)[part.mine]
        user_rows, user_of = self._users.distinct(np.where(hides, OOV, users))
        chosen = [source.chooser.choose(items, users, self._rng).of(part.mine) for source in self._sources]
        if self._share.count > 1:
            self._rng = np.random.default_rng((self._seed, *place, 1 + self._share.rank))
        views = self._augmenter.draw(self._rng) if self._augmenter else None
        computed = [of.places[self._share.part(len(of.places))] for of in chosen]
        candidates = np.concatenate(computed)
        touched = np.concatenate([self._catalogue.rows[candidates], keys.history_items.ravel()])
        touched = self._hide(touched, self._dropout.item)
        if views is not None:
            touched = np.append(touched, np.where(views.hides_id, OOV, self._catalogue.rows[views.items]))
        item_rows, item_of = self._items.distinct(touched)
        lent = None
        if self._lender:
            without = np.flatnonzero(touched[: len(candidates)] == OOV)
            chosen_of, lent = self._lender.draw(candidates[without], self._rng)
            item_of[without[chosen_of]] = len(item_rows) + np.arange(len(chosen_of))
        ends = np.cumsum([*[len(of) for of in computed], keys.history_items.size])
        *candidates_of, history_of, view_of = np.split(item_of, ends)
        moments_us = block.moments.times_us[rows]
        parts = zip(self._sources, chosen, candidates_of, strict=True)
        first, *others = [self._candidates(source, of, candidate_of, part) for source, of, candidate_of in parts]
        batch = Batch(
            user_rows=torch.from_numpy(user_rows),
            item_rows=torch.from_numpy(item_rows),
            keys=replace(
                keys,
                users=user_of,
                history_items=history_of.reshape(keys.history_items.shape),
                features=self._partly_hidden(keys.features, moments_us),
            ).tensors(),
            **first,
            weights=None if block.weights is None else torch.from_numpy(block.weights[rows]),
            lent=lent,
            views=ViewBatch(torch.from_numpy(view_of), tensors(views.features)) if views else None,
            after=part.after,
            own=part.own,
            user_sums=self._table.sums(user_rows),
            place=place,
            moments=_between(moments_us),
            of_all=len(items),
        )
        return replace(batch, by_member=(batch, *[replace(batch, **other) for other in others])) if others else batch

    def _candidates(
        self, source: CandidateSource, chosen: ChosenItems, candidate_of: Int64Array, part: BatchPositives
    ) -> dict[str, Any]:
        """What a batch says of the candidates from one source."""
        places, keys, masked = chosen.places, part.keys, None
        if part.sets is not None:
            members = np.where(keys.history_mask, keys.history_items, -1)
            masked = torch.from_numpy(others_of(members, part.sets, self._catalogue.rows[places], chosen.targets))
        return {
            **chosen._asdict(),
            "places": torch.from_numpy(places),
            "targets": torch.from_numpy(chosen.targets),
            "candidate_of": torch.from_numpy(candidate_of),
            "item_features": tensors(self._catalogue.features, places[self._share.part(len(places))]),
            "log_missed": torch.from_numpy(source.log_missed[places]),
            "masked": masked,
        }

    def _kept(self, items: Int64Array) -> Int64Array:
        """Which of the positives on `items` (at least one) to learn, as often as the catalogue says.

        Where that would be none, all: a batch cannot be empty.
        """
        every = np.arange(len(items))
        if self._catalogue.times is None:
            return every
        kept = repeated(self._catalogue.times[items], self._rng)
        return kept if len(kept) else every

    def _hide(self, places: Int64Array, share: float) -> Int64Array:
        return np.where(self._rng.random(places.shape, np.float32) < share, OOV, places)

    def _partly_hidden(self, features: Encoded, moments_us: Int64Array) -> Encoded:
        """The features, some users' hidden in their place, with the age of the examples where they have one."""
        hidden = self._rng.random(len(moments_us), np.float32) < self._dropout.profile
        for name, values in features.items():
            values[hidden] = self._nobody[name]
        if self._age_until_us is None:
            return features
        age = ((self._age_until_us - moments_us) / (_US * _DAY)).astype(np.float32)
        return features | {EXAMPLE_AGE: age[:, None]}


def _between(moments_us: Int64Array) -> str:
    """From when to when (int64 [B], microseconds), for people."""
    if not len(moments_us):
        return "no moment of this process's users"
    return f"{from_us(int(moments_us.min())).isoformat()} to {from_us(int(moments_us.max())).isoformat()}"
