"""The files of a full version, and the second artifact that only the next update reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError

from pagoda.channels.factory import TABLES
from pagoda.channels.mixture import OpenMixture, open_mixture
from pagoda.config.training import TrainConfig, read_config
from pagoda.data.history.history_state import Chosen, HistoryState
from pagoda.data.window import Window
from pagoda.embeddings.category_means import CategoryMeans
from pagoda.embeddings.table import IdTable
from pagoda.errors import IntegrityError
from pagoda.model.encoder import Encoder

# PyTorch is imported where it is used: most steps of an update only name these files, and shall not wait for it.
if TYPE_CHECKING:
    from torch import Tensor

    from pagoda.model.towers.ensemble import AnyTowers

ENCODER, CONFIG, TOWERS = "encoder.json", "config.yaml", "towers.safetensors"
USER_PROGRAM, ITEM_PROGRAM = "user_tower.pt2", "item_tower.pt2"
USERS, ITEMS, CATEGORY_MEANS = "users", "items", "category_means.npy"
POPULARITY, METRICS, LINEAGE = "popularity.parquet", "metrics.json", "lineage.json"
PRERANK, PRERANK_PROGRAM = "prerank.json", "prerank.pt2"
DENSE_STATE, OBJECTIVE_STATE, HISTORY = "dense.safetensors", "objective.safetensors", "history"


class Lineage(BaseModel):
    """Where a version comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    update: str = "full"
    window: Window
    parent: Window | None
    """The parent's window; None for a first version."""
    data_checksum: str
    config_checksum: str
    code_version: str
    """See `pagoda.code_version`."""
    forgotten: int = 0
    """The last record of the release log that was there when those being forgotten were left out; 0: there was none."""

    def to_json(self) -> str:
        """As the file holds it; what it makes no use of is left out, so that older readers understand it."""
        return self.model_dump_json(indent=1, exclude=None if self.forgotten else {"forgotten"})


@dataclass(frozen=True)
class FullVersionFiles:
    """A full version: `folder` is what serves, `state` what the next update warm-starts from besides."""

    folder: Path
    state: Path

    @cached_property
    def encoder(self) -> Encoder:
        """The feature declaration with its vocabularies."""
        return Encoder.from_json(_read(self.folder / ENCODER))

    @cached_property
    def config(self) -> TrainConfig:
        """The configuration that trained it."""
        return read_config(self.folder / CONFIG)

    @property
    def interests(self) -> int:
        """Vectors of a user."""
        return self.config.model.interests if self.encoder.spec.history else 1

    @cached_property
    def lineage(self) -> Lineage:
        """Where it comes from."""
        return Lineage.model_validate_json(_read(self.folder / LINEAGE))

    @cached_property
    def users(self) -> IdTable:
        """The base of the user-ID table."""
        return IdTable.open(self.folder / USERS)

    @cached_property
    def items(self) -> IdTable:
        """The item-ID table."""
        return IdTable.open(self.folder / ITEMS)

    @cached_property
    def category_means(self) -> CategoryMeans | None:
        """Rows of items that the item-ID table lacks; None where all have its out-of-vocabulary row."""
        if (cold := self.config.cold) is None or cold.items is None:
            return None
        size = next(field.size for field in self.encoder.fields("item") if field.name == cold.by)
        return CategoryMeans.open(self.folder / CATEGORY_MEANS, cold.by, size, self.config.row_dim)

    def mixture(self) -> OpenMixture | None:
        """Its channels, opened; None where it declares none.

        Raises:
            IntegrityError: A table is missing or damaged.
        """
        if not self.config.channels:
            return None
        return open_mixture(self.folder / TABLES, self.config.channels, self.config.merging)

    def metrics(self) -> dict[str, Any]:
        """How training went."""
        metrics: dict[str, Any] = orjson.loads(_read(self.folder / METRICS))
        return metrics

    def popularity(self) -> pa.Table:
        """`item_id` int64 and `clicks` int64: positives of each item in the window, the most popular first."""
        return pq.read_table(self.folder / POPULARITY)

    def shares(self, item_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of the window's positives of each of n items, add-one smoothed, so above 0 for unknown ones. [n]"""
        table = self.popularity()
        ids, clicks = table["item_id"].to_numpy(), table["clicks"].to_numpy()
        order = np.argsort(ids)
        place = np.minimum(np.searchsorted(ids[order], item_ids), max(len(ids) - 1, 0))
        known = ids[order][place] == item_ids if len(ids) else np.zeros(len(item_ids), np.bool_)
        found = np.where(known, clicks[order][place] if len(ids) else 0, 0)
        return smoothed_shares(found, int(clicks.sum()), len(ids))

    def counted_shares(self, items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of each of `items` (int64 [i], ascending) in the window's positives, float64 [i]; 0 for one without."""
        popularity = self.popularity()
        ids, clicks = (popularity.column(name).to_numpy() for name in ("item_id", "clicks"))
        known = np.isin(ids, items)
        shares = np.zeros(len(items))
        shares[np.searchsorted(items, ids[known])] = clicks[known] / clicks.sum()
        return shares

    def parameters(self) -> dict[str, Tensor]:
        """The towers' parameters by name."""
        return load_tensors(self.folder / TOWERS)

    def towers(self) -> AnyTowers:
        """The towers, ready for inference."""
        from pagoda.model.towers.ensemble import build_towers

        towers = build_towers(self.config, self.encoder)
        towers.load_state_dict(self.parameters())
        return towers.eval()

    def squares(self, table: str) -> NDArray[np.float32]:
        """Row-wise Adagrad's sums for the table `USERS` or `ITEMS`, float32 [n + 1]: the OOV row's first.

        Those of shared rows come last.
        """
        squares: NDArray[np.float32] = np.load(self.state / f"{table}.npy", allow_pickle=False)
        return squares

    def seen(self, table: str) -> NDArray[np.int64]:
        """When each ID of the table `USERS` or `ITEMS` was last seen: the end of that window in microseconds, [n]."""
        seen: NDArray[np.int64] = np.load(self.state / f"{table}_seen.npy", allow_pickle=False)
        return seen

    def dense_state(self) -> dict[str, Tensor]:
        """AdamW's state."""
        return load_tensors(self.state / DENSE_STATE)

    def objective_state(self) -> dict[str, Tensor] | None:
        """What the objective has learned; None where it learns nothing."""
        path = self.state / OBJECTIVE_STATE
        return load_tensors(path) if path.exists() else None

    def history(self, whose: Chosen | None = None) -> HistoryState | None:
        """Histories as of the window's end; None where the dataset declares none. `whose`: of those users alone."""
        folder = self.state / HISTORY
        return HistoryState.load(folder, whose) if folder.exists() else None


def smoothed_shares(clicks: NDArray[np.int64], total: int, items: int) -> NDArray[np.float64]:
    """Share of `total` positives of each of n items with so many `clicks` [n], add-one smoothed over `items`. [n]"""
    return np.asarray((clicks + 1.0) / (total + items + 1.0), np.float64)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors by name, without pickle."""
    from safetensors.torch import save_file

    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote.

    Raises:
        IntegrityError: The file is missing or damaged.
    """
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
    return tensors


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path}: cannot be read ({error.strerror}); is {path.parent} a full version?") from error
