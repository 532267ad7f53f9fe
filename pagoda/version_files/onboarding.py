"""What to show first to whom nothing is known of: popular items of all kinds, on which opinions differ.

Items are clustered by their vectors, and each cluster gives the one with most positives times the entropy of like and
skip, so that an answer says much. Clusters are joined two by two into one (Ward, 1963), and items stand in the order in
which that tree takes the catalogue apart: the first n are those of its n clusters, whatever n is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.cluster.vq import kmeans2

from pagoda.data.dataset import Dataset
from pagoda.data.window import Window

ONBOARDING = "onboarding.parquet"
MOST = 100
"""Items in the file."""
_CANDIDATES = 5_000
"""The best by score, which are clustered: the cost does not follow the catalogue."""
_LIKE, _SKIP = "like", "skip"
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]


def write_onboarding(
    path: Path, dataset: Dataset, window: Window, clicks: Int64Array, vectors: NDArray[np.float32]
) -> None:
    """Write `item_id`, as the dataset's owner gave it, of the items to show first.

    Args:
        path: Of the new file.
        dataset: Has the items.
        window: In which likes and skips count.
        clicks: int64 [i], positives of each of `Dataset.items()`.
        vectors: float32 [i, dim], theirs.
    """
    items = dataset.items()
    likes, skips = (_counts(dataset, window, event, items["item_id"].to_numpy()) for event in (_LIKE, _SKIP))
    chosen = first_items(vectors, clicks * entropy(likes, skips), MOST)
    keys = items.column("item_key" if dataset.spec.id_type == "string" else "item_id")
    pq.write_table(pa.table({"item_id": keys.take(pa.array(chosen))}), path)


def first_items(vectors: NDArray[np.float32], scores: Float64Array, most: int) -> Int64Array:
    """Places of items in the order in which they are shown, int64 [most], or less where fewer have a score above 0.

    Args:
        vectors: float32 [i, dim].
        scores: float64 [i].
        most: How many at most.
    """
    candidates = np.argsort(-scores, kind="stable")[:_CANDIDATES]
    candidates = candidates[scores[candidates] > 0]
    if len(candidates) <= 1:
        return candidates
    given = vectors[candidates].astype(np.float64)
    given /= np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12)
    centres, cluster = kmeans2(given, min(most, len(given)), minit="++", seed=0, missing="warn")
    # Candidates stand by falling score, so a cluster's first is its best.
    kept, best = np.unique(cluster, return_index=True)
    return candidates[_taken_apart(centres[kept], best)]


def _taken_apart(centres: Float64Array, best: Int64Array) -> Int64Array:
    """The best of c clusters (lower is better) in the order in which the tree above their centres comes apart."""
    if len(best) == 1:
        return best
    tree = linkage(centres, "ward")[:, :2].astype(np.int64)
    of_node = list(best)
    for pair in tree:
        of_node.append(min(of_node[node] for node in pair))
    # A join's better item is that of what it is a part of; taken apart, the other one comes in.
    others = [max(of_node[node] for node in pair) for pair in tree[::-1]]
    return np.array([of_node[-1], *others], np.int64)


def entropy(likes: Int64Array, skips: Int64Array) -> Float64Array:
    """How much is unknown of an answer before it is given, in bits, float64 [i]; 1 where the data has no such answers.

    One of each is added, so that an item of few answers counts as one on which opinions differ.
    """
    if not (likes.any() and skips.any()):
        return np.ones(len(likes))
    share = (likes + 1) / (likes + skips + 2)
    bits: Float64Array = -(share * np.log2(share) + (1 - share) * np.log2(1 - share))
    return bits


def _counts(dataset: Dataset, window: Window, event: str, items: Int64Array) -> Int64Array:
    """Interactions of a kind with each item in a window, int64 [i]; `items` ascend."""
    counts = np.zeros(len(items), np.int64)
    for batch in dataset.batches(window, events=[event], columns=["item_id"]):
        place = pc.index_in(batch["item_id"], pa.array(items)).drop_null().to_numpy()
        counts += np.bincount(place, minlength=len(items))
    return counts
