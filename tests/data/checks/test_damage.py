"""Damage of any kind: a message, never a traceback, and never other rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pagoda.data.checks.check import check_dataset
from pagoda.data.dataset import Dataset
from pagoda.data.layout import schema_of
from pagoda.data.parquet import write_table
from pagoda.data.partitions import InteractionWriter
from pagoda.errors import PagodaError
from tests.data.folders import ITEMS, SPEC, USERS, interaction, moment, write_dataset


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset as Pagoda writes it, with checksums."""
    path = write_dataset(tmp_path_factory.mktemp("damage") / "d", parts=[])
    for table, rows in (("users", USERS), ("items", ITEMS)):
        shutil.rmtree(path / table)
        schema = schema_of(SPEC, table)
        write_table(path / table, iter([pa.RecordBatch.from_pylist(rows, schema)]), schema)
    schema = schema_of(SPEC, "interactions")
    with InteractionWriter(path / "interactions", schema) as writer:
        rows = [interaction(moment(f"10:{minute:02d}"), minute, 10 + minute % 2) for minute in range(60)]
        writer.write(pa.RecordBatch.from_pylist(rows, schema))
    return path


def read_all(path: Path) -> list[list[dict[str, object]]]:
    dataset = Dataset.open(path)
    return [
        pa.Table.from_batches(dataset.batches()).to_pylist(),
        dataset.users().to_pylist(),
        dataset.items().to_pylist(),
    ]


def damage(content: bytearray, rng: np.random.Generator) -> None:
    """Cut, overwrite, insert or remove some bytes."""
    place = int(rng.integers(0, len(content)))
    match rng.integers(0, 4):
        case 0:
            del content[place:]
        case 1:
            content[place] ^= int(rng.integers(1, 256))
        case 2:
            content[place:place] = rng.bytes(int(rng.integers(1, 20)))
        case _:
            del content[place : place + int(rng.integers(1, 20))]


@pytest.mark.parametrize("seeds", [[*range(60), 941], pytest.param(range(60, 1500), marks=pytest.mark.long)])
def test_damaged_files_are_refused_or_harmless(tmp_path: Path, sound: Path, seeds: Sequence[int]) -> None:
    truth = read_all(sound)
    files = sorted(path.relative_to(sound) for path in sound.rglob("*.parquet"))
    for seed in seeds:
        rng = np.random.default_rng(seed)
        path = tmp_path / str(seed)
        shutil.copytree(sound, path)
        victim = path / files[seed % len(files)]
        content = bytearray(victim.read_bytes())
        damage(content, rng)
        victim.write_bytes(content)
        problems = check_dataset(path).report.problems
        try:
            read = read_all(path)
        except PagodaError as error:
            assert str(victim.parent) in str(error)
            assert problems, f"seed {seed}: check found nothing where reading failed"
        else:
            assert read == truth or problems, f"seed {seed}: other rows, unnoticed"
        shutil.rmtree(path)
