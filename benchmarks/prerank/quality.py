"""How well a pre-ranker orders what was shown after its window, beside the cosine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.prerank.world import Offered
from pagoda.config.positives import PositivesConfig
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.metrics import user_auc
from pagoda.generations.manifest import Prerank
from pagoda.prerank.items import EncodedItems
from pagoda.storage.copies import local_path
from pagoda.training.examples.positive_weights import MeanWeight
from pagoda.training.examples.stream import ExampleStream
from pagoda.training.prerank.shown import OTHERS, ShownExamples, shown_examples
from pagoda.version_files.open_version import OpenVersion
from serving.tower.program import load_program

_BLOCK, _BATCH = 1_000_000, 4096


def gauc(made: Offered, model: Prerank) -> dict[str, Any]:
    """GAUC of the program that serves and of the cosine, on the same impressions, with intervals over users."""
    examples = _later(made, model)
    rows = np.flatnonzero(examples.shown)
    program = load_program(local_path(model.program.uri) or Path())
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    with torch.inference_mode():
        scores = np.concatenate([program(*examples.inputs(part, model.groups).tensors()).numpy() for part in parts])
    chosen, users = examples.chosen[rows], examples.users[rows]
    aucs = [user_auc(values, chosen, users) for values in (scores, examples.cosines()[rows])]
    found = resample(np.column_stack(aucs), users)
    gain = found.samples[:, 0] - found.samples[:, 1]
    low, high = interval(gain)
    return {
        "impressions": len(rows),
        "users": int(np.isfinite(aucs[0][np.unique(users, return_index=True)[1]]).sum()),
        "gauc": float(found.means[0]),
        "gauc_cosine": float(found.means[1]),
        "gain": float(found.means[0] - found.means[1]),
        "gain_low": low,
        "gain_high": high,
    }


def _later(made: Offered, model: Prerank) -> ShownExamples:
    """What was shown after the version's window, as it sees it."""
    dataset, files = made.dataset, made.files
    catalogue = dataset.items().column("item_id").to_numpy()
    stream = ExampleStream(
        dataset=dataset,
        window=made.later,
        encoder=files.encoder,
        users=None,
        items=None,
        catalogue=catalogue,
        block_rows=_BLOCK,
        mean_weight=MeanWeight(),
        before=files.history(),
        counting=PositivesConfig(),
        others=OTHERS,
    )
    items = EncodedItems.open([local_path(one.uri) or Path() for one in model.items])
    return shown_examples(stream, OpenVersion(files, dataset), items, model.groups, seed=0)
