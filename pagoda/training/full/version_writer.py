"""Writing the files of a full version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pagoda.channels.base import TableSource
from pagoda.channels.factory import TABLES, write_tables
from pagoda.code_version import code_version
from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.model.export import export_towers
from pagoda.training.examples.survey import Survey
from pagoda.training.full.preparation import Prepared
from pagoda.training.learner.optimisers import dense_state
from pagoda.version_files import full
from pagoda.version_files.full import FullVersionFiles, Lineage, save_tensors
from pagoda.version_files.onboarding import ONBOARDING, write_onboarding
from pagoda.version_files.open_version import OpenTowers


def write_version(
    folder: Path, prepared: Prepared, config: TrainConfig, lineage: Lineage, metrics: dict[str, Any], *, programs: bool
) -> None:
    """Write what serves into `folder`, which is created; without its `programs` it can be asked here only."""
    folder.mkdir()
    learner = prepared.learner
    (folder / full.ENCODER).write_text(prepared.encoder.to_json())
    (folder / full.CONFIG).write_text(config.to_yaml())
    (folder / full.LINEAGE).write_text(lineage.to_json())
    (folder / full.METRICS).write_bytes(orjson.dumps(metrics, option=orjson.OPT_INDENT_2))
    learner.users.write(folder / full.USERS)
    learner.items.write(folder / full.ITEMS)
    if prepared.cold:
        prepared.cold.means(learner.items).save(folder / full.CATEGORY_MEANS)
    pq.write_table(_popularity(prepared.survey), folder / full.POPULARITY)
    save_tensors(learner.towers.state_dict(), folder / full.TOWERS)
    if config.cold and config.cold.users:
        clicks, stream = prepared.survey.clicks, prepared.stream
        vectors = opened(prepared).item_vectors()
        write_onboarding(folder / ONBOARDING, stream.dataset, stream.window, clicks, vectors)
    write_tables(folder / TABLES, config.channels, _source(prepared, config.vector_dim))
    if programs:
        files = folder / full.USER_PROGRAM, folder / full.ITEM_PROGRAM
        export_towers(learner.towers, prepared.encoder, config.row_dim, *files)


def opened(prepared: Prepared) -> OpenTowers:
    """What is being trained, as it is now; it lies in main memory."""
    learner = prepared.learner
    learner.towers.eval()
    tables = learner.users, learner.items
    means = prepared.cold.means(learner.items) if prepared.cold else None
    return OpenTowers(prepared.encoder, learner.towers, *tables, prepared.stream.dataset, category_means=means)


def write_state(folder: Path, prepared: Prepared) -> None:
    """Write what only the next update reads into `folder`, which is created."""
    folder.mkdir()
    learner = prepared.learner
    np.save(folder / f"{full.USERS}.npy", learner.users.squares.numpy())
    np.save(folder / f"{full.ITEMS}.npy", learner.items.squares.numpy())
    for table, seen in prepared.seen.items():
        np.save(folder / f"{table}_seen.npy", seen)
    save_tensors(dense_state(learner.towers, learner.optimiser), folder / full.DENSE_STATE)
    if learned := learner.objective.state_dict():
        save_tensors(learned, folder / full.OBJECTIVE_STATE)
    if prepared.stream.after is not None:
        prepared.stream.after.save(folder / full.HISTORY)


def lineage_of(
    dataset: Dataset, window: Window, parent: FullVersionFiles | None, config: TrainConfig, forgotten: int = 0
) -> Lineage:
    """Where a version trained on these comes from."""
    return Lineage(
        window=window,
        parent=parent.lineage.window if parent else None,
        data_checksum=dataset.checksum(window),
        config_checksum=f"xxh3:{xxhash.xxh3_128_hexdigest(config.to_yaml().encode())}",
        code_version=code_version(),
        forgotten=forgotten,
    )


def _source(prepared: Prepared, searched: int) -> TableSource:
    """What tables are written from; of item vectors, the first `searched` numbers, which a collection has."""
    stream, catalogue = prepared.stream, prepared.survey.catalogue
    return TableSource(stream.dataset, stream.window, catalogue, lambda: opened(prepared).item_vectors()[:, :searched])


def _popularity(survey: Survey) -> pa.Table:
    order = np.argsort(-survey.clicks, kind="stable")
    return pa.table({"item_id": survey.catalogue[order], "clicks": survey.clicks[order]})
