"""The pre-ranker of a full version, trained when its towers are done, which stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.config.prerank import PrerankConfig
from pagoda.config.training import TrainConfig
from pagoda.model.encoder import Encoder
from pagoda.model.user_inputs import Array, UserKeys
from pagoda.prerank.groups import groups_of, number_groups, without_vectors
from pagoda.prerank.inputs import PairInputs, pair_inputs
from pagoda.prerank.items import EncodedItems
from pagoda.prerank.network import PreRanker
from pagoda.prerank.program import export_preranker
from pagoda.prerank.report import CurvePoint, PrerankReport
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.prerank.learning import ROUNDS, learn, mean_gates
from pagoda.training.prerank.selection import Halves, measured, select
from pagoda.training.prerank.shown import ShownExamples, shown_examples
from pagoda.version_files.full import PRERANK, PRERANK_PROGRAM
from pagoda.version_files.open_version import OpenTowers

_EXAMPLES = 3
"""That a program is exported with."""
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class TrainedPreRanker:
    """A pre-ranker as a version has it."""

    ranker: PreRanker
    report: PrerankReport
    example: PairInputs

    def write(self, folder: Path) -> None:
        """Write its files into a version's folder."""
        (folder / PRERANK).write_text(self.report.model_dump_json(indent=1))
        export_preranker(self.ranker, self.example, folder / PRERANK_PROGRAM)


def train_preranker(
    stream: ExampleStream,
    items: EncodedItems,
    towers: OpenTowers,
    encoder: Encoder,
    config: TrainConfig,
    *,
    alike: bool = True,
) -> TrainedPreRanker:
    """Train one.

    Args:
        stream: As for `shown_examples`.
        items: All that there are, in the order of the stream's catalogue.
        towers: By which the examples are seen; they stay as they are.
        encoder: The version's.
        config: The version's, which declares `prerank`.
        alike: Whether the version's vectors lie where those of the towers lie. Where they lie elsewhere, groups that
            are vectors are left out: what compares vectors with each other is all that stays true.

    Raises:
        ConfigError: It names a group that there is not.
        DataError: As `shown_examples`.
        GateError: The loss is not finite.
    """
    if (how := config.prerank) is None:
        raise ValueError("prerank is not declared")
    names = number_groups(encoder.spec) if how.features == "auto" else how.features
    names = groups_of(encoder, names).names if alike else without_vectors(encoder.spec, names)
    examples = shown_examples(stream, towers, items, names, config.seed)
    with torch.random.fork_rng(devices=[]):
        return _Work(examples, encoder, config, how, stream.catalogue).trained(names)


@dataclass(frozen=True)
class _Work:
    examples: ShownExamples
    encoder: Encoder
    config: TrainConfig
    how: PrerankConfig
    ids: Int64Array
    """Of all items."""

    def trained(self, names: Sequence[str]) -> TrainedPreRanker:
        halves, gates = Halves(self.examples, self.config.seed), dict[str, float]()
        judged = partial(self._judged, halves)
        shown = np.flatnonzero(self.examples.shown)
        if self.how.features == "auto":
            # Rounds enough for gates to say something.
            gates = mean_gates(self._learned(names, ROUNDS, gated=True), self.examples, shown)
            chosen, curve = select(gates, judged, self.how.budget_ms)
        else:
            chosen = judged(names)
            curve = [chosen]
        report = PrerankReport(
            groups=groups_of(self.encoder, chosen.groups).names,
            examples=len(self.examples),
            gauc=chosen.gauc,
            gauc_cosine=self.examples.gauc(self.examples.cosines()[shown], shown),
            curve=tuple(curve),
            gates=gates,
        )
        ranker = self._learned(chosen.groups, chosen.rounds)
        return TrainedPreRanker(ranker, report, self.examples.inputs(shown[:_EXAMPLES], ranker.order))

    def _judged(self, halves: Halves, names: Sequence[str]) -> CurvePoint:
        rankers = [self._new(names) for _ in range(2)]
        rounds, gauc = halves.best(rankers, self.config.optimiser)
        milliseconds = self._milliseconds(rankers[0])
        return CurvePoint(groups=tuple(names), gauc=gauc, milliseconds=milliseconds, rounds=rounds)

    def _learned(self, names: Sequence[str], rounds: int, *, gated: bool = False) -> PreRanker:
        """One that has learned all examples."""
        ranker, everything = self._new(names, gated=gated), np.arange(len(self.examples))
        for _ in learn(ranker, self.examples, everything, self.config.optimiser, rounds=rounds, seed=self.config.seed):
            pass
        return ranker

    def _new(self, names: Sequence[str], *, gated: bool = False) -> PreRanker:
        torch.manual_seed(self.config.seed)
        dim, model = self.examples.vectors.shape[1], self.config.model
        return PreRanker(groups_of(self.encoder, names), dim, model.feature_dim, self.how.hidden, gated=gated)

    def _milliseconds(self, ranker: PreRanker) -> float:
        """What all candidates of a user take, from their places on: a user with a full history."""
        rng, items = np.random.default_rng(0), self.examples.items
        history = self.encoder.spec.history
        past = rng.choice(self.ids, (1, history.length if history else 0))
        told = [name for name in ranker.order if name.startswith("user.")]
        features = {name.partition(".")[2]: self.examples.features[name][:1] for name in told}
        zeros = np.zeros(past.shape, np.float32)
        keys: UserKeys[Array] = UserKeys(np.zeros(1, np.int64), past, np.ones(past.shape, np.bool_), zeros, features)
        places = rng.integers(len(self.ids), size=self.how.candidates)
        owner = np.zeros(len(places), np.int64)

        def score() -> None:
            read = pair_inputs(ranker.order, items, self.examples.vectors[:1], keys, places=places, owner=owner)
            ranker(*read.tensors())

        with torch.inference_mode():
            return measured(score)
