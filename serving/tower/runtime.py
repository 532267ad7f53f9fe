"""The user tower without a server: raw requests in, vectors out, each of exactly the generation that it asked for.

TorchServe's handler is one host of it; any other Python model server can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pagoda.embeddings.tables import OpenGeneration, TowerTables
from pagoda.errors import IntegrityError, PagodaError
from pagoda.model.encoder import Encoder
from pagoda.model.user_inputs import Array, UserKeys
from serving.tower.archive import ENCODER, PROGRAM
from serving.tower.bodies import Instance, TowerAnswer, TowerRequest
from serving.tower.inputs import InputReader
from serving.tower.program import Program, load_program


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose generation is open and whose values are encoded."""

    place: int
    generation: OpenGeneration
    keys: UserKeys[Array]


class TowerRuntime:
    """One full version's user tower over the ID tables of its generations."""

    def __init__(self, program: Program, encoder: Encoder, tables: TowerTables) -> None:
        """Make a runtime of its parts.

        Args:
            program: `UserTower` as a function of the fields of `UserInputs`.
            encoder: The full version's.
            tables: The full version's generations on this host.
        """
        self._program, self._reader, self._tables = program, InputReader(encoder), tables

    @classmethod
    def load(cls, folder: Path, tables: TowerTables, read: Callable[[Path], Program] = load_program) -> TowerRuntime:
        """Load the exported program and the encoder from `folder`, an unpacked archive or a version's files.

        `read` reads the program, `load_small` for a process that is to stay small.

        Raises:
            IntegrityError: A file is missing or damaged.
        """
        try:
            program = read(folder / PROGRAM)
            encoder = Encoder.from_json((folder / ENCODER).read_bytes())
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise IntegrityError(f"{folder}: holds no user tower ({error})") from error
        return cls(program, encoder, tables)

    def predict(self, instances: Sequence[Instance], generation: str | None = None) -> TowerAnswer:
        """Compute the vectors of `instances` in a generation (default: the current one).

        Raises:
            NotHeldError: This host does not hold the generation.
            RequestError: A raw value is wrong; the message names it.
        """
        answer = self.predict_batch([TowerRequest(instances, generation)])[0]
        if isinstance(answer, PagodaError):
            raise answer
        return answer

    def predict_batch(self, requests: Sequence[TowerRequest]) -> list[TowerAnswer | PagodaError]:
        """Answer each request by itself, with one forward pass for all: one's error spoils no other's answer."""
        now_us = time.time_ns() // 1000
        refused: dict[int, PagodaError] = {}
        asked: list[_Asked] = []
        for place, request in enumerate(requests):
            try:
                generation = self._generation(request.generation)
                asked.append(_Asked(place, generation, self._reader.read(request.instances, now_us)))
            except PagodaError as error:
                refused[place] = error
        computed = {one.place: answer for one, answer in zip(asked, self._compute(asked), strict=True)}
        return [refused[place] if place in refused else computed[place] for place in range(len(requests))]

    def _generation(self, name: str | None) -> OpenGeneration:
        return self._tables.generation(self._tables.current() if name is None else name)

    def _compute(self, asked: Sequence[_Asked]) -> list[TowerAnswer]:
        if not asked:
            return []
        keys = UserKeys.stack([one.keys for one in asked])
        id_rows, known, history_rows = self._look_up(asked, keys)
        with torch.inference_mode():
            # Made in here too: on tensors from outside, each view costs more.
            inputs = keys.tensors().with_rows(torch.from_numpy(id_rows), torch.from_numpy(history_rows))
            vectors = self._program(*inputs).numpy()
        if len(asked) == 1:
            return [TowerAnswer(vectors, known, asked[0].generation.generation)]
        ends = np.cumsum([len(one.keys) for one in asked])[:-1]
        parts = zip(asked, np.split(vectors, ends), np.split(known, ends), strict=True)
        return [TowerAnswer(part, found, one.generation.generation) for one, part, found in parts]

    def _look_up(
        self, asked: Sequence[_Asked], keys: UserKeys[Array]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
        """Rows of users [n, dim], which are known [n], and rows of histories [n, length, dim], by generation."""
        generations = {one.generation.generation: one.generation for one in asked}
        if len(generations) == 1:  # As nearly always.
            return _rows_of(asked[0].generation, keys.users, keys.history_items, keys.history_mask)
        owner = np.repeat([one.generation.generation for one in asked], [len(one.keys) for one in asked])
        dim = asked[0].generation.users.dim
        id_rows = np.empty((len(owner), dim), np.float32)
        known = np.empty(len(owner), np.bool_)
        history_rows = np.empty((*keys.history_items.shape, dim), np.float32)
        for name, generation in generations.items():
            own = np.flatnonzero(owner == name)
            id_rows[own], known[own], history_rows[own] = _rows_of(
                generation, keys.users[own], keys.history_items[own], keys.history_mask[own]
            )
        return id_rows, known, history_rows


def _rows_of(
    generation: OpenGeneration, users: Array, items: Array, mask: Array
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """The same of one generation."""
    id_rows, known = generation.users.lookup(users)
    if mask.all():
        history_rows = generation.items.lookup(items.ravel())[0].reshape(*items.shape, generation.users.dim)
    else:
        history_rows = np.zeros((*items.shape, generation.users.dim), np.float32)
        history_rows[mask] = generation.items.lookup(items[mask])[0]
    return id_rows, known, history_rows
