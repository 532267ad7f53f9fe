"""What no service can beat: the user tower's forward pass and a search, in one process, on arrays made before.

The search is that of the compact platform: the same files, by the same effort.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.online.installation import Installation
from benchmarks.online.measure import time_calls
from benchmarks.online.world import DIM, NOW_US, SPEC, BenchWorld
from pagoda.index.factory import collections_folder
from pagoda.index.in_process.collection_files import CollectionFiles
from pagoda.index.in_process.index_folder import open_folder
from pagoda.index.in_process.vector_index import VectorIndex
from pagoda.item_vectors.vector_files import ItemVectors
from pagoda.model.user_inputs import Array, UserInputs, UserKeys
from pagoda.settings import CollectionConfig
from serving.recall.api import RecallInstance
from serving.recall.generations.generation import LiveGeneration
from serving.tower.bodies import Instance
from serving.tower.inputs import InputReader
from serving.tower.program import load_program
from serving.users.online_store import OnlineStore

INPUTS, INDEX, PROGRAM = "inputs.npz", "index", "user_tower.pt2"
_K = 100


@dataclass
class Limit:
    """Users' inputs, the tower, the index."""

    program: Any
    arrays: dict[str, NDArray[Any]]
    index: VectorIndex
    effort: int | None
    """None: all are compared, which costs no more where there are few."""

    @classmethod
    def load(cls, folder: Path) -> Limit:
        """From what `prepare` wrote."""
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        with np.load(folder / INPUTS) as file:
            arrays = dict(file)
        columns, index = open_folder(folder / INDEX)
        effort = index.plan(_K, CollectionConfig().effort, len(columns))
        return cls(load_program(folder / PROGRAM), arrays, index, effort)

    def vector(self, user: int) -> NDArray[np.float32]:
        """The user's vector, [1, dim]."""
        take = {name: torch.from_numpy(values[user : user + 1]) for name, values in self.arrays.items()}
        features = {name.removeprefix("feature:"): take.pop(name) for name in list(take) if name.startswith("feature:")}
        with torch.inference_mode():
            vector: NDArray[np.float32] = self.program(*UserInputs(**take, features=features)).numpy()
        return vector

    def answer(self, user: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and IDs of the user's 100 items."""
        vector = self.vector(user)
        if self.effort is None:
            scores, rows = self.index.compare(vector, _K, None)
        else:
            scores, rows = self.index.search(vector, _K, self.effort, None)
        return scores[0], rows[0]  # IDs are 0 to n, so a row is an ID.


def prepare(installation: Installation, folder: Path) -> None:
    """Write inputs of all users and the program beside the index of a compact platform."""
    folder.mkdir(exist_ok=True)
    (folder / PROGRAM).write_bytes((installation.world.files.folder / PROGRAM).read_bytes())
    files, keys = installation.world.files, asyncio.run(_keys(installation))
    past = keys.history_rows(files.items) * torch.from_numpy(keys.history_mask)[..., None]
    arrays = keys.tensors().with_rows(keys.id_rows(files.users), past)._asdict()
    arrays |= {f"feature:{name}": values for name, values in arrays.pop("features").items()}
    np.savez(folder / INPUTS, **arrays)
    collection = collections_folder(installation.settings) / installation.index.name
    (folder / INDEX).symlink_to(CollectionFiles(collection).index)


async def _keys(installation: Installation) -> UserKeys[Array]:
    """What the tower is told of every user."""
    generation, reader = LiveGeneration(installation.manifest), InputReader(installation.world.files.encoder)
    asked = [RecallInstance(user_id=int(user), timestamp=NOW_US) for user in installation.world.users]
    store = OnlineStore(installation.settings.redis.url)
    stored = []
    for start in range(0, len(asked), 500):
        stored += await store.read([(one.user_id, False) for one in asked[start : start + 500]], SPEC)
    await store.close()
    told = [generation.tower_instance(one, known) for one, known in zip(asked, stored, strict=True)]
    return reader.read([Instance.model_validate(one) for one in told], NOW_US)


def exact(world: BenchWorld, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """The true 100 items of each user vector, [n, 100]."""
    flat = faiss.IndexFlatIP(DIM)
    for _, block in ItemVectors(world.vectors, SPEC).blocks():
        flat.add(np.ascontiguousarray(block))
    ids: NDArray[np.int64] = flat.search(vectors, _K)[1]
    return ids


def recall_at_100(found: Sequence[Sequence[int]], truth: NDArray[np.int64]) -> float:
    """Mean share of the true items that were found."""
    shares = [len(set(map(int, ids)) & set(wanted.tolist())) / _K for ids, wanted in zip(found, truth, strict=True)]
    return float(np.mean(shares))


def run_threads(limit: Limit, threads: int, draw: list[int], seconds: float) -> tuple[list[float], float]:
    """Seconds of every call, and calls a second, with several threads at once."""
    limit.answer(draw[0])
    outcomes: list[Any] = []
    running = [
        threading.Thread(target=lambda part=part: outcomes.append(time_calls(limit.answer, part, seconds)))
        for part in (draw[number::threads] for number in range(threads))
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    all_ = [value for one in outcomes for value in one.seconds]
    return all_, len(all_) / seconds
