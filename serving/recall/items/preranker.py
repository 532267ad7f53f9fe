"""A generation's pre-ranker, opened: its program, how it encodes users, and the items that it knows.

It brings PyTorch, so whoever answers without one does not import this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.errors import IntegrityError, UnavailableError
from pagoda.generations.manifest import Manifest, Prerank
from pagoda.item_vectors.changed_columns import ChangedColumns
from pagoda.model.encoder import Encoder
from pagoda.prerank.inputs import pair_inputs
from pagoda.prerank.items import EncodedItems
from pagoda.storage.copies import local_path, size, verified
from serving.recall.lookup import Vector
from serving.tower.bodies import read_instances
from serving.tower.inputs import InputReader
from serving.tower.program import load_small
from serving.users.keys import Key

MOST_BYTES = 1 << 30
"""Of a copy, two of which there may be during a rollout; the chart's volume for them has room for that."""
_WARM = 3
Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]


class OpenPreRanker:
    """Scores items for a user. Safe to ask from any thread."""

    def __init__(self, model: Prerank, program: Callable[..., Any], encoder: Encoder, items: EncodedItems) -> None:
        """Put it together; `program` takes the fields of `PairInputs`, and `items` are those that were exported."""
        self._model, self._program, self._items, self._exported = model, program, items, items
        self._changed, self._number = ChangedColumns(model.items[0].uri), 0
        self._reader, self._named = InputReader(encoder), encoder.spec.id_type == "string"

    @property
    def seconds(self) -> float:
        """What all candidates of a user were allowed to take where it was trained."""
        return self._model.budget_ms / 1e3

    def look(self) -> None:
        """Take in how items were changed, and which are new.

        Raises:
            UnavailableError: The store does not answer.
            IntegrityError: The file is damaged.
        """
        if (newest := self._changed.newest()) > self._number and (found := self._changed.read(newest)):
            self._items, self._number = self._exported.under(*found), newest

    def score(self, vector: Vector, told: dict[str, Any], ids: Int64Array) -> tuple[Float32Array, NDArray[np.bool_]]:
        """The chance that a user takes each of n items, if it is shown.

        Args:
            vector: The user's, of the tower.
            told: What the tower was told of the user.
            ids: int64 [n], of the items.

        Returns:
            float32 [n], and which of the items it knows, bool [n]; of another the number says nothing.

        Raises:
            RequestError: A raw value is wrong, as it would be for the tower.
        """
        keys, items = self._reader.read(read_instances([told]), time.time_ns() // 1000), self._items
        places, there = items.find(ids)
        users, owner = np.asarray([vector], np.float32), np.zeros(len(ids), np.int64)
        inputs = pair_inputs(self._model.groups, items, users, keys, places=places, owner=owner)
        with torch.inference_mode():
            chances: Float32Array = torch.sigmoid(self._program(*inputs.tensors())).numpy()
        return chances, there

    def score_nobody(self) -> None:
        """Score as many items as a user has, for nobody."""
        (vector,) = self._items.vectors(np.zeros(1, np.int64)).tolist()
        user: Key = "nobody" if self._named else 0
        told: dict[str, Any] = {"user_id": user, "profile": {}, "context": {}, "history": []}
        self.score(vector, told, np.zeros(self._model.candidates, np.int64))


def open_preranker(manifest: Manifest) -> OpenPreRanker:
    """Open a generation's, its files where they are or verified copies of an object store's, and all changes so far.

    Raises:
        IntegrityError: It has none, or a file is damaged.
        UnavailableError: A file is not there or cannot be read now, or the copies would be too large.
    """
    if (model := manifest.prerank) is None:
        raise IntegrityError(f"generation {manifest.id}: was made without a pre-ranker")
    files = (model.program, model.encoder, *model.items)
    if (copied := sum(size(one.uri) for one in files if local_path(one.uri) is None)) > MOST_BYTES:
        raise UnavailableError(f"pre-ranker of {manifest.id}: {copied:,} bytes; {MOST_BYTES:,} at most are copied here")
    with TemporaryDirectory(prefix="pagoda-prerank-") as folder:
        program, encoder, *items = (
            verified(one.uri, one.checksum, Path(folder, str(at))) for at, one in enumerate(files)
        )
        opened = OpenPreRanker(
            model, load_small(program), Encoder.from_json(encoder.read_bytes()), EncodedItems.open(items)
        )
    opened.look()
    return opened
