"""A small world for the serving tests: a feature declaration, an exported tower, tables of several generations."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pagoda.config.model import DecayPooling, ModelConfig
from pagoda.data.ids import hash_ids
from pagoda.data.spec import Categorical, FeatureSpec, History, MultiValued, Numeric, TimeOf
from pagoda.data.window import Window, from_us
from pagoda.embeddings.segment import Segment
from pagoda.embeddings.table import IdTable
from pagoda.embeddings.tables import TablesWriter, TowerTables
from pagoda.model.encoder import Encoder
from pagoda.model.export import export_towers
from pagoda.model.towers.towers import Towers
from serving.tower.archive import ENCODER, PROGRAM

DIM, LENGTH = 16, 5
USERS, ITEMS = 40, 60
NOW_US = 1_700_000_000_000_000
WINDOW = Window(start=from_us(NOW_US - 1), end=from_us(NOW_US))


def make_spec(id_type: str = "int64") -> FeatureSpec:
    """Features of every source that the user tower reads, and filterable ones of the items."""
    return FeatureSpec(
        id_type=id_type,
        history=History(length=LENGTH),
        features=(
            Numeric(name="age", tower="user", edges=(18, 30, 50)),
            Categorical(name="gender", tower="user"),
            Categorical(name="device", tower="user", source="context"),
            TimeOf(name="hour", part="hour"),
            MultiValued(name="genres", tower="item", filterable=True),
            Numeric(name="year", tower="item", edges=(1980, 2000), filterable=True),
        ),
    )


@dataclass(frozen=True)
class Names:
    """IDs as callers know them."""

    spec: FeatureSpec

    def user(self, number: int) -> int | str:
        """A user's ID."""
        return f"user-{number}" if self.spec.id_type == "string" else number

    def item(self, number: int) -> int | str:
        """An item's ID."""
        return f"item-{number}" if self.spec.id_type == "string" else number


@dataclass(frozen=True)
class World(Names):
    """A full version and the tables folder that it is in."""

    folder: Path
    tables: Path
    encoder: Encoder
    version: int

    def open_tables(self) -> TowerTables:
        """The tables as a tower worker opens them."""
        return TowerTables(self.tables, self.version)

    def offer(self) -> None:
        """Put generation `g<version>` into the tables as the current one."""
        writer = TablesWriter(self.tables)
        writer.install_full(self.version, str(self.folder))
        writer.put_generation(f"g{self.version}", self.version, ())
        writer.set_current(f"g{self.version}")


def make_world(folder: Path, tables: Path, version: int = 3, id_type: str = "int64", seed: int = 0) -> World:
    """Write an untrained full version's files below `folder` and offer its generation."""
    spec = make_spec(id_type)
    users = pa.table({"age": [20.0], "gender": ["F"], "device": ["phone"]})
    items = pa.table({"genres": [["Drama"]], "year": [1990.0]})
    encoder = Encoder.fit(spec, users, items)
    folder.mkdir(parents=True)
    (folder / ENCODER).write_text(encoder.to_json())
    for name, content in _programs(encoder.to_json(), seed).items():
        (folder / name).write_bytes(content)
    rng = np.random.default_rng(seed)
    world = World(spec, folder, tables, encoder, version)
    for side, count, name in (("users", USERS, world.user), ("items", ITEMS, world.item)):
        IdTable.write(folder / side, ids_of([name(n) for n in range(count)]), *_rows(rng, count))
    world.offer()
    return world


def add_generation(world: World, incremental: int, users: list[int]) -> str:
    """Publish generation `g<version>.<incremental>`, in which the rows of `users` are others."""
    base = IdTable.open(world.folder / "users")
    rng = np.random.default_rng(incremental)
    folder = world.folder.parent / f"segment-{world.version}-{incremental}"
    rows = _rows(rng, len(users))[0]
    ids = ids_of([world.user(n) for n in users])
    description = Segment.write(
        folder, ids, rows, base_checksum=base.checksum, base_version=world.version, window=WINDOW, parent=None
    )
    writer = TablesWriter(world.tables)
    writer.install_segment(str(folder), description.checksum)
    generation = f"g{world.version}.{incremental}"
    writer.put_generation(generation, world.version, (description.checksum,))
    return generation


def ids_of(ids: list[int | str]) -> np.ndarray:
    """IDs inside Pagoda."""
    return hash_ids([str(i) for i in ids]) if isinstance(ids[0], str) else np.array(ids, np.int64)


def _rows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(count, DIM)).astype(np.float32), rng.normal(size=DIM).astype(np.float32)


@cache
def _programs(encoder_json: str, seed: int) -> dict[str, bytes]:
    """The files of both towers; exporting takes longer than most tests."""
    encoder = Encoder.from_json(encoder_json)
    torch.manual_seed(seed)
    config = ModelConfig(dim=DIM, feature_dim=4, history=DecayPooling(half_lives_seconds=(60.0, 3600.0)))
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, PROGRAM), Path(folder, "item_tower.pt2")
        export_towers(Towers(config, encoder), encoder, DIM, *paths)
        return {path.name: path.read_bytes() for path in paths}
