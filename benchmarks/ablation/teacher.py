"""A teacher who knows the simulated world's truth: the most that any ranker could teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.simulation import World

_BEST, _OTHERS = 50, 50
"""Items of a user: as a ranker's log has them, most that recall thought good, and some that it did not."""
_USERS = 512


def write_truth(world: World, moment_us: int, path: Path, *, seed: int = 0) -> None:
    """Write what all users think of their best items and of some others at a moment: user_id, item_id, score (logit).

    Args:
        world: Knows it.
        moment_us: When, in microseconds.
        path: A new Parquet file, as `pagoda train full --teacher` reads it.
        seed: Draws the others.
    """
    rng, users, there = np.random.default_rng(seed), world.users_at(moment_us), world.items_at(moment_us)
    schema = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("score", pa.float64())])
    with pq.ParquetWriter(path, schema) as writer:
        for part in np.split(users, range(_USERS, len(users), _USERS)):
            others = there[rng.integers(len(there), size=(len(part), _OTHERS))]
            items = np.concatenate([world.true_top(part, moment_us, _BEST), others], axis=1)
            chances = world.preferences(part, items, moment_us).astype(np.float64)
            scores = np.log(chances / (1 - chances))
            of = np.repeat(part, items.shape[1])
            writer.write_table(pa.table([of, items.ravel(), scores.ravel()], schema=schema))
