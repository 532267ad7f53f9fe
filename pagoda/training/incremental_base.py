"""A full version as incremental updates see it: opened once, frozen, and proved to have stayed so."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from pagoda.data.dataset import Dataset
from pagoda.data.history_files import SavedHistories
from pagoda.embeddings.table import verify_files
from pagoda.errors import ConfigError, IntegrityError
from pagoda.storage import checksum_file
from pagoda.training.artifact import HISTORY, ITEMS, TOWERS, USERS, FullVersionFiles
from pagoda.training.vectors import OpenVersion

Int64Array = NDArray[np.int64]
ITEM_VECTORS = "item_vectors"


class FrozenBase:
    """A full version whose towers, tables and item vectors nobody may change.

    The tables are mapped read-only, so the process itself cannot change them; towers and item vectors are in memory.
    """

    def __init__(self, files: FullVersionFiles, dataset: Dataset, version: int = 0) -> None:
        """Open `files`, registered as `version`, for the items of `dataset`.

        Raises:
            ConfigError: The dataset declares other features than the version was trained with.
            IntegrityError: A file is missing or damaged.
        """
        if dataset.spec != files.encoder.spec:
            raise ConfigError(
                f"{dataset.path}/features.yaml differs from the declaration that the base was trained with; "
                "incrementals go on when a full version knows it"
            )
        self.files, self.version, self.dataset = files, version, dataset
        self.encoder, self.config = files.encoder, files.config
        self.users, self.items = files.users, files.items
        self.towers = files.towers().requires_grad_(False)
        self.item_ids: Int64Array = dataset.items().column("item_id").to_numpy()
        """int64 [i], ascending."""
        self.item_vectors = torch.from_numpy(OpenVersion(files, dataset).item_vectors())
        """float32 [i, dim], in the order of `item_ids`."""
        self._opened = self._in_memory()

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Share of each item in the positives that the base learned, float64 [i]; 0 for one without any."""
        popularity = self.files.popularity()
        clicks = popularity.column("clicks").to_numpy().astype(np.float64)
        known = np.isin(popularity.column("item_id").to_numpy(), self.item_ids)
        place = np.searchsorted(self.item_ids, popularity.column("item_id").to_numpy()[known])
        shares = np.zeros(len(self.item_ids))
        shares[place] = clicks[known] / clicks.sum()
        return shares

    @cached_property
    def squares(self) -> NDArray[np.float32]:
        """Row-wise Adagrad's sums for the base's users, float32 [n + 1], the OOV row's first; mapped."""
        path = self.files.state / f"{USERS}.npy"
        squares: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return squares

    @cached_property
    def typical_square(self) -> float:
        """Mean of `squares` over users: where a new user's sum begins."""
        return float(self.squares[1:].mean()) if len(self.squares) > 1 else 0.0

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
        return now | tables

    def _table_files(self) -> list[tuple[str, str, str]]:
        tables = {USERS: self.users, ITEMS: self.items}
        return [(name, *of) for name, table in tables.items() for of in table.description.files.items()]

    def _in_memory(self) -> dict[str, str]:
        # Serialised again, the parameters must give the very file that they were read from.
        state = {name: tensor.detach().contiguous() for name, tensor in self.towers.state_dict().items()}
        return {TOWERS: _checksum(save(state)), ITEM_VECTORS: _checksum(_bytes(self.item_vectors))}


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.numpy().reshape(-1).view(np.uint8).data


def _checksum(content: bytes | memoryview) -> str:
    return f"xxh3:{xxhash.xxh3_128_hexdigest(content)}"


def exported_vectors(base: FrozenBase, ids: Int64Array, vectors: NDArray[np.float32], where: Path) -> None:
    """Check that the vectors that serve, of items `ids` ascending, are what incrementals learn against.

    Raises:
        IntegrityError: They differ by more than rounding, so they are of another version.
    """
    known = np.isin(ids, base.item_ids)
    place = np.searchsorted(base.item_ids, ids[known])
    if not np.allclose(base.item_vectors.numpy()[place], vectors[known], atol=1e-5):
        raise IntegrityError(f"{where}: holds the item vectors of another version than {base.files.folder}")
    base.item_vectors[place] = torch.from_numpy(vectors[known])
