"""A full version as incremental updates see it: opened once, frozen, and proved to have stayed so."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import xxhash
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from pagoda.data.dataset import Dataset
from pagoda.data.history.history_files import SavedHistories
from pagoda.embeddings.mapped_rows import verify_files
from pagoda.errors import ConfigError, IntegrityError
from pagoda.model.towers.ensemble import AnyTowers
from pagoda.storage.checksums import checksum_file
from pagoda.training.learner.objectives import build_objective, learned_by, temperature_of
from pagoda.version_files.full import CATEGORY_MEANS, HISTORY, ITEMS, TOWERS, USERS, FullVersionFiles
from pagoda.version_files.open_version import item_vectors

Int64Array = NDArray[np.int64]
ITEM_VECTORS, SECOND_VECTORS = "item_vectors", "second_vectors"


class FrozenMember(NamedTuple):
    """One model of a full version, as its users' rows go on learning by it."""

    dim: int
    """How many numbers of vectors are its."""
    weight: float
    """What its cosine counts in the product of vectors."""
    temperature: float
    """Of the softmax that it was trained with; learned, if it learned one."""


class FrozenBase:
    """A full version whose towers, tables and item vectors nobody may change.

    The tables are mapped read-only, so the process itself cannot change them; towers and item vectors are in memory.
    """

    def __init__(
        self, files: FullVersionFiles, dataset: Dataset, version: int = 0, *, vectors: Path | None = None
    ) -> None:
        """Open a full version.

        Args:
            files: Its files.
            dataset: Its items are the candidates; those newer than the version have vectors by their features.
            version: Its number.
            vectors: The `item_vectors.parquet` that serves, or the folder of its parts; None: they are computed.

        Raises:
            ConfigError: The dataset declares other features than the version was trained with.
            IntegrityError: A file is missing or damaged.
        """
        if not files.encoder.reads(dataset.spec):
            raise ConfigError(
                f"{dataset.path}/features.yaml differs from the declaration that the base was trained with; "
                "incrementals go on when a full version knows it"
            )
        if not files.config.model.user.id_row:
            raise ConfigError(
                f"{files.folder}: its user tower reads no ID row (model.user.id_row is false), so an incremental "
                "update would change nothing; histories follow users without it"
            )
        self.files, self.version, self.dataset = files, version, dataset
        self.encoder, self.config = files.encoder, files.config
        self.users, self.items = files.users, files.items
        self.towers = files.towers().requires_grad_(False)
        # IDs int64 [i] ascending, vectors float32 [i, dim], and which of these are the ones that serve.
        self.item_ids, self.item_vectors, self._exported = _vectors(files, self.towers, dataset, vectors)
        self._opened = self._in_memory()

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of each item in the positives that the base learned, float64 [i]; 0 for one without any."""
        return self.files.counted_shares(self.item_ids)

    @cached_property
    def members(self) -> tuple[FrozenMember, ...]:
        """The models whose vectors lie end to end in the base's: one, or those of an ensemble."""
        members = self.config.members
        objectives = [build_objective(member.objective, len(self.item_ids)) for member in members]
        learned = learned_by(objectives)
        learned.load_state_dict(self.files.objective_state() or learned.state_dict())
        with torch.no_grad():
            return tuple(
                FrozenMember(member.model.dim, weight, float(temperature_of(objective, member.objective)))
                for member, weight, objective in zip(members, self.towers.weights, objectives, strict=True)
            )

    @cached_property
    def squares(self) -> NDArray[np.float32]:
        """Row-wise Adagrad's sums for the base's users, float32 [n + 1], the OOV row's first; mapped.

        Those of shared rows come last.
        """
        path = self.files.state / f"{USERS}.npy"
        squares: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return squares

    @cached_property
    def typical_square(self) -> float:
        """Mean of `squares` over users with a row of their own: where that of one who gets a row begins."""
        return float(self.squares[1 : len(self.users) + 1].mean()) if len(self.users) else 0.0

    @cached_property
    def histories(self) -> SavedHistories:
        """Histories as of the end of the base's window; only where the dataset declares them."""
        return SavedHistories(self.files.state / HISTORY)

    def prove_frozen(self) -> dict[str, str]:
        """Compare what is in memory and the item table with what the base's files hold.

        Returns:
            Checksum of each frozen part: files by their name in the version's folder, and the item vectors.

        Raises:
            IntegrityError: Something has changed, were it one bit; the message names it.
        """
        now, folder = self._in_memory(), self.files.folder
        for part, checksum in now.items():
            if checksum != self._opened[part]:
                raise IntegrityError(f"{folder}: {part} changed while users' rows were learned; nothing is kept")
        if now[TOWERS] != checksum_file(folder / TOWERS):
            raise IntegrityError(f"{folder / TOWERS}: is not what the towers in memory were read from")
        verify_files(folder / ITEMS, self.items.description.files)
        tables = {f"{name}/{file}": checksum for name, file, checksum in self._table_files()}
        if self.files.category_means is not None:
            tables[CATEGORY_MEANS] = checksum_file(folder / CATEGORY_MEANS)
        del now[SECOND_VECTORS]  # They follow from towers and tables, and no file of the version holds them.
        return now | tables

    def _table_files(self) -> list[tuple[str, str, str]]:
        tables = {USERS: self.users, ITEMS: self.items}
        return [(name, *of) for name, table in tables.items() for of in table.description.files.items()]

    def _in_memory(self) -> dict[str, str]:
        # Serialised again, the parameters must give the very file that they were read from.
        state = {name: tensor.detach().contiguous() for name, tensor in self.towers.state_dict().items()}
        served = self.item_vectors[self._exported]
        found, beside = served[:, : self.config.vector_dim], served[:, self.config.vector_dim :]
        vectors = {ITEM_VECTORS: _checksum(_bytes(found)), SECOND_VECTORS: _checksum(_bytes(beside))}
        return {TOWERS: _checksum(save(state)), **vectors}


def _vectors(
    files: FullVersionFiles, towers: AnyTowers, dataset: Dataset, exported: Path | None
) -> tuple[Int64Array, Tensor, Int64Array]:
    """All items, their vectors, and which of these were exported.

    Those that were exported are taken as they are: they serve, and what is computed here may differ in the last bit.
    """
    items = dataset.items()
    ids: Int64Array = items.column("item_id").to_numpy()
    if exported is None:
        return ids, torch.from_numpy(item_vectors(files, towers, items)), np.arange(len(ids))
    served_ids, served = _read_vectors(exported)
    new = ~np.isin(ids, served_ids)
    if files.config.cascade:
        # Only those of the first member were exported there.
        computed = item_vectors(files, towers, items)
        beside = np.zeros((len(served), computed.shape[1] - served.shape[1]), np.float32)
        _, there, here = np.intersect1d(served_ids, ids, assume_unique=True, return_indices=True)
        beside[there] = computed[here, served.shape[1] :]
        served, added = np.concatenate([served, beside], axis=1), computed[new]
    else:
        added = item_vectors(files, towers, items.filter(pa.array(new)))
    merged, both = np.concatenate([served_ids, ids[new]]), np.concatenate([served, added])
    order = np.argsort(merged)
    return merged[order], torch.from_numpy(both[order]), np.flatnonzero(order < len(served_ids))


def exported_checksum(path: Path) -> str:
    """Checksum of the vectors in an `item_vectors.parquet`, as `FrozenBase.prove_frozen` gives it for the same ones."""
    return _checksum(_read_vectors(path)[1].reshape(-1).view(np.uint8).data)


def _read_vectors(path: Path) -> tuple[Int64Array, NDArray[np.float32]]:
    """Item IDs int64 [n], ascending, and vectors float32 [n, dim]."""
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else path
    try:
        table = pq.read_table(files, columns=["item_id", "vector"])
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"{path}: not readable as item vectors ({error})") from error
    vectors = table.column("vector").combine_chunks()
    flat: NDArray[np.float32] = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    return table.column("item_id").to_numpy(), flat


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().numpy().reshape(-1).view(np.uint8).data


def _checksum(content: bytes | memoryview) -> str:
    return f"xxh3:{xxhash.xxh3_128_hexdigest(content)}"
