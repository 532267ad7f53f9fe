"""One epoch of the engine of several processes over a dataset folder, run by `torchrun`; each has one thread."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.training.job import peak_rss_bytes, report
from benchmarks.training.pagoda_job import CONFIG
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.training.distributed.ranks import joined_ranks
from pagoda.training.distributed.worker import of_rank
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import prepare


def main() -> None:
    """Learn every row once and print what it took, and the memory of the process that took most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    dataset = Dataset.open(parser.parse_args().dataset)
    config = parse_config(CONFIG)
    # A core for each, as several have anyway.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"]) % len(cores)]})
    with joined_ranks(config.device) as ranks:
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
