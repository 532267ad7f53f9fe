"""What training needs before its first step: grown vocabularies, warm tables and towers, histories up to date."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.config.objective import single_negatives
from pagoda.config.training import DropoutConfig, TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.data.window import Window
from pagoda.erasure.pending import NOBODY
from pagoda.errors import ConfigError
from pagoda.model.encoder import Encoder
from pagoda.model.losses.objective import log_missed
from pagoda.model.table_inputs import Int64Array
from pagoda.model.towers.ensemble import build_towers, weigh_as_declared
from pagoda.model.towers.towers import warm_start
from pagoda.training.batches.augmentation import Augmenter
from pagoda.training.batches.batcher import Batcher, CandidateSource, Catalogue
from pagoda.training.batches.sequence_batcher import SequenceBatcher
from pagoda.training.batches.set_batcher import SetBatcher
from pagoda.training.distillation.scored_lists import ScoredLists, scored_lists
from pagoda.training.examples.made_interests import MadeInterests, made_interests
from pagoda.training.examples.repetition import repeats
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.examples.survey import Survey, survey
from pagoda.training.full.cold_items import ColdItems, cold_items
from pagoda.training.full.refusals import refuse_nobody_to_ask, refuse_rehearsal, refuse_what_is_not_there
from pagoda.training.full.side_inputs import NOTHING_BESIDE, SideInputs
from pagoda.training.full.user_rows import refuse_other_rows
from pagoda.training.full.warm_start import Tables, grown_encoder, grown_tables, histories_before, pace_of
from pagoda.training.learner.learner import Learner
from pagoda.training.learner.optimisers import restore_dense_state
from pagoda.training.negatives.candidates import CandidateMaker
from pagoda.training.negatives.hard import Sources, hard_negatives
from pagoda.training.negatives.item_choice import Chooser
from pagoda.training.negatives.relevance import Relevance, relevance
from pagoda.training.negatives.sampling import NegativeSampler
from pagoda.training.share import WHOLE, Share
from pagoda.training.tables import TrainableTable
from pagoda.version_files.full import FullVersionFiles

_BATCHERS: dict[str, type[Batcher]] = {"positives": Batcher, "sequences": SequenceBatcher, "sets": SetBatcher}


@dataclass(frozen=True)
class Prepared:
    """A full update that is ready to learn."""

    survey: Survey
    encoder: Encoder
    learner: Learner
    stream: ExampleStream
    catalogue: Catalogue
    sources: tuple[CandidateSource, ...]
    """One, or one for each member of an ensemble whose members have candidates of their own."""
    augmenter: Augmenter | None
    cold: ColdItems | None
    batchers: type[Batcher]
    seen: Mapping[str, Int64Array]
    """When the IDs of each table were last seen, as `pagoda.training.retirement` has it."""

    @property
    def positives_an_epoch(self) -> int:
        """How many positives an epoch learns: on average, where `positives` thins or repeats them."""
        times = self.catalogue.times
        return self.survey.positives if times is None else max(round(float(self.survey.clicks @ times)), 1)

    def batcher(self, dropout: DropoutConfig, seed: int) -> Batcher:
        """Cuts the stream's blocks into batches."""
        tables = self.learner.users, self.learner.items
        ages = self.learner.towers.user.reads_age
        return self.batchers(
            self.encoder,
            *tables,
            self.catalogue,
            dropout=dropout,
            seed=seed,
            sources=self.sources,
            augmenter=self.augmenter,
            lender=self.cold.lender(self.catalogue.rows) if self.cold else None,
            age_until_us=self.stream.window.end_us if ages else None,
            share=self.stream.share,
        )


def prepare(
    dataset: Dataset,
    window: Window,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    beside: SideInputs = NOTHING_BESIDE,
    *,
    forgotten: Int64Array = NOBODY.ids,
    words: Encoder | None = None,
    share: Share = WHOLE,
) -> Prepared:
    """Get a full update ready; arguments and errors as for `full_update`.

    Without a parent, the words of features have the numbers that they have in `words`, where that is given. Rows and
    histories are those of the users of `share`.
    """
    refuse_what_is_not_there(config, dataset, window, beside)
    refuse_nobody_to_ask(config, dataset, beside.relevance, parent)
    if parent is not None:
        _refuse_misfit(dataset, window, parent, config)
    else:
        refuse_rehearsal(config, dataset, window)
    items = dataset.items()
    found = survey(dataset, window, items.column("item_id").to_numpy(), config.positives)
    encoder = grown_encoder(dataset, window, found, items, parent.encoder if parent else words)
    tables, seen = grown_tables(dataset, found, window, parent, config=config, forgotten=forgotten, share=share)
    before = histories_before(dataset, window, parent, forgotten, share)
    interests = made_interests(config, dataset, window, found=found, encoder=encoder, items=items)
    stream = _stream(
        dataset,
        window,
        config,
        found=found,
        encoder=encoder,
        tables=tables,
        before=before,
        interests=interests,
        share=share,
    )
    times = repeats(config.positives, found.clicks)
    learned = None if times is None else found.clicks * times
    batch = _positives_of_a_batch(config, found.positives if learned is None else float(learned.sum()))
    users, features = tables[0], encoder.encode_table("item", items)
    lists = _Lists(
        Sources(dataset, window, beside.mined),
        users,
        scored=scored_lists(config, beside.teacher, dataset, users, found.catalogue),
        relevance=_relevance(dataset, window, beside.relevance or parent, config, users=users, forgotten=forgotten),
    )
    supervision, size = config.self_supervision, len(found.catalogue)
    return Prepared(
        survey=found,
        encoder=encoder,
        learner=_learner(encoder, tables, found, parent, config, batch=batch),
        stream=stream,
        catalogue=Catalogue(rows=tables[1].places(found.catalogue), features=features, times=times),
        sources=tuple(_source(member, found, lists, learned, batch) for member in config.drawing),
        augmenter=Augmenter(supervision, encoder, features, size) if supervision else None,
        cold=cold_items(config.cold, encoder, found, features),
        batchers=_BATCHERS[config.learn],
        seen=seen,
    )


class _Lists(NamedTuple):
    """Where what a user has of their own comes from."""

    hard: Sources
    users: TrainableTable
    scored: ScoredLists | None
    relevance: Relevance | None


def _source(
    member: TrainConfig, found: Survey, lists: _Lists, learned: NDArray[np.float64] | None, batch: float
) -> CandidateSource:
    """Where a model's candidates come from, for batches of `batch` positives; `learned` as for `NegativeSampler`."""
    sampler = NegativeSampler(member.negatives, found.clicks, single_negatives(member.objective), learned)
    hard = hard_negatives(member.negatives, lists.hard, lists.users, found.catalogue, member.seed)
    size = len(found.catalogue)
    chooser = Chooser(sampler, hard, size, scored=lists.scored, relevance=lists.relevance)
    return CandidateSource(chooser, sampler.log_missed(batch))


def _relevance(
    dataset: Dataset,
    window: Window,
    files: FullVersionFiles | None,
    config: TrainConfig,
    *,
    users: TrainableTable,
    forgotten: Int64Array,
) -> Relevance | None:
    """Who says what is irrelevant; None where nobody is asked."""
    if files is None or not config.negatives.bad:
        return None
    # A version that has learned later events than these has their histories, not those before.
    earlier = files if files.lineage.window.end <= window.start else None
    before = histories_before(dataset, window, earlier, forgotten)
    asked = np.setdiff1d(users.ids, forgotten)
    return relevance(config.negatives, files, dataset, window, users=users, asked=asked, before=before)


def _positives_of_a_batch(config: TrainConfig, learned: float) -> float:
    """How many positives a batch has: blocks are cut into equal parts, so small windows have less than `batch_size`."""
    of_a_block = max(min(learned, config.shuffle_rows), 1.0)
    return of_a_block / math.ceil(of_a_block / config.batch_size)


def _refuse_misfit(dataset: Dataset, window: Window, parent: FullVersionFiles, config: TrainConfig) -> None:
    if window.start < parent.lineage.window.end:
        raise ConfigError(
            f"the window starts at {window.start.isoformat()}, but the parent has learned up to "
            f"{parent.lineage.window.end.isoformat()}: each interaction is learned once"
        )
    if not parent.encoder.reads(dataset.spec):
        raise ConfigError(
            f"{dataset.path}/features.yaml differs from the declaration that the parent was trained with; "
            "train a first version, without a parent"
        )
    if config.architecture != parent.config.architecture:
        what = "model" if config.ensemble == parent.config.ensemble else "ensemble"
        raise ConfigError(
            f"`{what}` differs from the parent's, whose towers cannot be continued; train a first version"
        )
    refuse_other_rows(config.user_rows, parent)


def _stream(
    dataset: Dataset,
    window: Window,
    config: TrainConfig,
    *,
    found: Survey,
    encoder: Encoder,
    tables: Tables,
    before: HistoryState | None,
    interests: MadeInterests | None,
    share: Share,
) -> ExampleStream:
    """The window's examples, with histories that go on from the parent's."""
    users, items = tables
    return ExampleStream(
        dataset=dataset,
        window=window,
        encoder=encoder,
        users=users,
        items=items,
        catalogue=found.catalogue,
        block_rows=config.shuffle_rows,
        before=before,
        mean_weight=found.mean_weight,
        counting=config.positives,
        interests=interests,
        share=share,
    )


def _candidates(
    found: Survey, batch: float, parent: FullVersionFiles | None, config: TrainConfig
) -> list[CandidateMaker]:
    """Make each member's candidates of batches of `batch` positives.

    What the parent counted is where an estimate begins.
    """
    known = None if parent is None else -np.expm1(log_missed(parent.counted_shares(found.catalogue), batch))
    return [CandidateMaker(member.negatives, len(found.catalogue), known) for member in config.members]


def _learner(
    encoder: Encoder,
    tables: Tables,
    found: Survey,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    *,
    batch: float,
) -> Learner:
    # Initial values come from PyTorch's global generator; the caller's own use of it goes on undisturbed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        towers = build_towers(config, encoder)
    candidates = _candidates(found, batch, parent, config)
    learner = Learner(config, towers, *tables, candidates, pace=pace_of(found, parent, config))
    if parent is not None:
        warm_start(towers, parent.parameters())
        weigh_as_declared(towers, config)
        restore_dense_state(towers, learner.optimiser, parent.dense_state())
        # What the parent's objectives learned and these do not is left behind.
        known = parent.objective_state() or {}
        learner.objective.load_state_dict(
            {name: known.get(name, first) for name, first in learner.objective.state_dict().items()}
        )
    return learner
