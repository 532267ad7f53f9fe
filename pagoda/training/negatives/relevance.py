"""What is irrelevant to a user, as a full version says that learns no more: Fan et al., KDD 2019 (Mobius).

Who learns from clicks alone learns to recommend what anybody clicks. So of what it would recommend, what another model
finds irrelevant is learned as *bad* (section 3.1 and algorithm 1 of the paper).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pagoda.config.negatives import NegativesConfig
from pagoda.data.dataset import Dataset
from pagoda.data.history.history_state import HistoryState
from pagoda.data.window import Window
from pagoda.model.losses.objective import Candidates
from pagoda.model.table_inputs import no_histories
from pagoda.training.tables import TrainableTable
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.open_version import OpenVersion

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


class Relevance:
    """Cosines of users and items that do not change. Costs a vector for each, as the ID tables do."""

    def __init__(self, users: Int64Array, user_vectors: Float32Array, item_vectors: Float32Array, below: float) -> None:
        """Make one.

        Args:
            users: int64 [table], which of the vectors each place of the user table has.
            user_vectors: float32 [u, D]; zeros for users of whom nothing is known, to whom nothing is irrelevant.
            item_vectors: float32 [i, D], of the catalogue.
            below: The quantile of a user's cosines below which items are irrelevant.
        """
        self._users, self._user_vectors, self._item_vectors, self._below = users, user_vectors, item_vectors, below

    def irrelevant(self, users: Int64Array, items: Int64Array) -> NDArray[np.bool_]:
        """Which items (int64 [S], places in the catalogue) are irrelevant to users (int64 [B], places), bool [B, S]."""
        cosines = self._user_vectors[self._users[users]] @ self._item_vectors[items].T
        place = min(int(self._below * len(items)), len(items) - 1)
        irrelevant: NDArray[np.bool_] = cosines < np.partition(cosines, place, axis=1)[:, place, None]
        return irrelevant


def relevance(
    config: NegativesConfig,
    files: FullVersionFiles,
    dataset: Dataset,
    window: Window,
    *,
    users: TrainableTable,
    asked: Int64Array,
    before: HistoryState | None,
) -> Relevance:
    """What a full version thinks, as the window begins, of those users that it knows, and of all items.

    Args:
        config: What is irrelevant.
        files: The version.
        dataset: Has the users' profiles and the items.
        window: What will be learned.
        users: The table of the version that learns.
        asked: int64 [n], the users to ask about.
        before: Histories as the window begins.
    """
    towers = OpenVersion(files, dataset)
    known = asked[towers.knows(asked)]
    moments = np.full(len(known), window.start_us)
    histories = before.read(known, moments) if before else no_histories(len(known))
    vectors = towers.user_vectors(known, moments, histories)
    of = np.full(len(users), len(known))
    of[users.places(known)] = np.arange(len(known))
    nobody = np.zeros((1, vectors.shape[1]), np.float32)
    return Relevance(of, np.concatenate([vectors, nobody]), towers.item_vectors(), config.bad_below)


def with_bad(
    config: NegativesConfig,
    candidates: Candidates,
    users: Tensor,
    targets: Tensor,
    *,
    irrelevant: Tensor,
    temperature: Tensor | float,
) -> Candidates:
    """The same candidates, with as many bad ones of each user as are declared.

    They are drawn without replacement among what is irrelevant to the user, with a chance that grows with how much the
    version that learns would recommend them: softmax(cosine / temperature), by Gumbel's trick.

    Args:
        config: How many, and how much more they weigh.
        candidates: Of the batch.
        users: float32 [B, D], as they are now.
        targets: int64 [B], which candidate each user chose.
        irrelevant: bool [B, S], of the candidates from `first_shared` on.
        temperature: Of the objective.
    """
    first, many = candidates.first_shared, irrelevant.shape[1]
    with torch.no_grad():
        logits = users @ candidates.vectors[first : first + many].T / temperature
        noise = torch.empty_like(logits).exponential_().log()
        chances = (logits - noise).masked_fill(~irrelevant, -torch.inf)
        best, places = chances.topk(min(config.bad, many), dim=1)
        bad = torch.where(torch.isfinite(best), places + first, targets[:, None])
    if candidates.negatives is None:
        return replace(candidates, bad=bad, bad_weight=config.bad_weight)
    return replace(candidates, negatives=torch.cat([candidates.negatives, bad], dim=1))
