"""One process of a full update: it learns its share, and the first one writes what all have learned."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.erasure.pending import Forgotten
from pagoda.training.distributed.checkpoints import RankCheckpoints
from pagoda.training.distributed.job import SharedUpdate
from pagoda.training.distributed.learner import RankLearner
from pagoda.training.distributed.parts import joined, write_part
from pagoda.training.distributed.ranks import TrainingRanks
from pagoda.training.distributed.refusals import refuse_more_than_there_is
from pagoda.training.full.learning import LearnedWindow, some_of
from pagoda.training.full.loop import Outcome, Progress, train
from pagoda.training.full.preparation import Prepared, prepare
from pagoda.training.full.side_inputs import NOTHING_BESIDE
from pagoda.training.full.update import identity_of, write_update
from pagoda.training.full.version_writer import lineage_of
from pagoda.training.learner.checkpoints import Checkpoints, checkpoints_in
from pagoda.version_files.full import FullVersionFiles, Lineage


def work(job: SharedUpdate, forgotten: Forgotten, ranks: TrainingRanks, progress: Progress) -> None:
    """Do this process's share of a job; errors as for `full_update`, alike in all processes or in one of them."""
    config, parent, dataset = job.settings(), job.parent_files(), Dataset.open(job.data)
    prepared = of_rank(
        prepare(dataset, job.window, parent, config, forgotten=forgotten.ids, share=ranks.share), config, ranks
    )
    # Of a large dataset its checksum takes a while, so one computes it.
    first = ranks.share.rank == 0
    told = lineage_of(dataset, job.window, parent, config, forgotten.known).model_dump_json() if first else None
    lineage = Lineage.model_validate_json(ranks.of_each(told)[0])
    identity = identity_of(prepared, config, lineage, parent, NOTHING_BESIDE)
    parts = job.out.with_name(f".parts-{job.out.name}")
    with checkpoints_in(job.checkpoints, identity, partial(RankCheckpoints, ranks=ranks)) as kept:
        outcome = _learned(prepared, parent, config, kept, progress)
        if ranks.share.rank == 0:
            shutil.rmtree(parts, ignore_errors=True)
        ranks.meet()
        write_part(parts, prepared)
        ranks.meet()
        if ranks.share.rank == 0:
            whole = joined(parts, prepared, config)
            learned = LearnedWindow(outcome, {}, some_of(whole, config))
            write_update(job.out, whole, parent, config, learned, lineage=lineage, forgotten=forgotten.ids)
            shutil.rmtree(parts)
        # Until the version is there, a checkpoint may be needed again.
        ranks.meet()


def of_rank(prepared: Prepared, config: TrainConfig, ranks: TrainingRanks) -> Prepared:
    """An update that is ready to be learned by several processes, of one that is ready for this one's share.

    Raises:
        ConfigError: There are more processes than users or items for them.
    """
    stream = prepared.stream
    fewest = min(ranks.of_each(int(stream.share.has(prepared.survey.users).sum())))
    refuse_more_than_there_is(fewest, len(prepared.learner.items.ids), ranks.share.count)
    return replace(prepared, learner=RankLearner(prepared.learner, config, ranks))


def _learned(
    prepared: Prepared,
    parent: FullVersionFiles | None,
    config: TrainConfig,
    checkpoints: Checkpoints,
    progress: Progress,
) -> Outcome:
    outcome = train(prepared, config, 1 if parent else config.bootstrap_epochs, progress, checkpoints=checkpoints)
    prepared.stream.complete()
    return outcome
