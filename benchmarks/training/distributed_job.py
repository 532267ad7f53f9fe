"""One epoch of the engine of several processes over a dataset folder, each with one thread."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.training.job import SHARED_BATCH, peak_rss_bytes, report
from benchmarks.training.pagoda_job import CONFIG
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.processes.together import end_with_input
from pagoda.training.distributed.ranks import joined_ranks
from pagoda.training.distributed.worker import of_rank
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import prepare


def main() -> None:
    """Learn every row once and print what it took, and the memory of the process that took most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("meeting", type=Path, help="file where the processes meet")
    arguments = parser.parse_args()
    end_with_input()
    dataset = Dataset.open(arguments.dataset)
    config = parse_config(CONFIG).model_copy(update={"batch_size": SHARED_BATCH})
    # A core for each, as several have anyway.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"]) % len(cores)]})
    with joined_ranks(config.device, arguments.meeting) as ranks:
        prepared = of_rank(prepare(dataset, dataset.span(), None, config, share=ranks.share), config, ranks)
        outcome = train(prepared, config, 1, Silent())
        peak = max(ranks.of_each(peak_rss_bytes()))
        if ranks.share.rank == 0:
            report(
                outcome.samples_per_second,
                rows=prepared.survey.positives,
                optimiser="row-wise Adagrad",
                loss=outcome.losses[-1],
                peak=peak,
            )


if __name__ == "__main__":
    main()
