"""One epoch of Pagoda's own loop over a dataset folder, in a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.training.job import BATCH, DIM, TEMPERATURE, report
from pagoda.config.training import parse_config
from pagoda.data.dataset import Dataset
from pagoda.training.full.loop import Silent, train
from pagoda.training.full.preparation import prepare

CONFIG = f"""
batch_size: {BATCH}
bootstrap_epochs: 1
shuffle_rows: 262144
precision: float32
model: {{dim: {DIM}, user: {{blocks: []}}, item: {{blocks: []}}}}
negatives: {{uniform: 0}}
objective: {{temperature: {TEMPERATURE}}}
dropout: {{user: 0, item: 0, profile: 0, history: 0}}
"""


def main() -> None:
    """Learn every row once and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    arguments = parser.parse_args()
    dataset = Dataset.open(arguments.dataset)
    config = parse_config(CONFIG)
    prepared = prepare(dataset, dataset.span(), None, config)
    outcome = train(prepared, config, 1, Silent())
    rows = prepared.survey.positives
    report(outcome.samples_per_second, rows=rows, optimiser="row-wise Adagrad", loss=outcome.losses[-1])


if __name__ == "__main__":
    main()
