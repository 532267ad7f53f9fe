"""A teacher's scores as a file, of whatever ranker: one row a user and an item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pagoda.data.dataset import Dataset
from pagoda.data.ids import hash_ids
from pagoda.errors import ConfigError, DataError
from pagoda.training.pairs import Pairs
from pagoda.training.tables import OOV, TrainableTable

Int64Array = NDArray[np.int64]
Float32Array = NDArray[np.float32]
Scale = Literal["logit", "probability"]
_SCALES: tuple[Scale, ...] = get_args(Scale)
KEPT = 100
"""Scores kept of a user, at random: 16 bytes each."""
_NAMES, _TIME = ("user_id", "item_id", "score"), "timestamp"
_BATCH_ROWS = 1 << 20
_CERTAIN = 1e-6
"""Probabilities of 0 and 1 have no finite logit; this near them they are taken as this near."""


class Teacher(NamedTuple):
    """Whose scores are distilled."""

    file: Path
    """Parquet: user_id, item_id (as the dataset has them), score, and if it is there timestamp; others are not read."""
    scale: Scale = "logit"


class Scores(NamedTuple):
    """Pairs of a user and an item, each once, and float32 [n] the teacher's logit of each."""

    pairs: Pairs
    logits: Float32Array


class _Rows(NamedTuple):
    keys: Int64Array
    """As `Pairs.keys`."""
    logits: Float32Array
    times: Int64Array
    chances: Float32Array
    """Of a user those with the lowest are kept."""


def scale_named(name: str) -> Scale:
    """The scale of this name.

    Raises:
        ConfigError: There is none.
    """
    for scale in _SCALES:
        if scale == name:
            return scale
    raise ConfigError(f"teacher_scale {name!r}: expected {' or '.join(_SCALES)}")


def read_scores(teacher: Teacher, dataset: Dataset, users: TrainableTable, catalogue: Int64Array, seed: int) -> Scores:
    """The scores of the users and items at hand. Of a pair that comes twice the newest counts, of equal ones the last.

    Args:
        teacher: The file; memory follows what is kept of it.
        dataset: Says whether IDs are numbers or strings. Numbers are always as inside Pagoda.
        users: Those of others are left out.
        catalogue: int64 [i], ascending; other items are left out.
        seed: Chooses the `KEPT` of a user with more.

    Raises:
        DataError: The file cannot be read, lacks a column or has one of another type, or has a score that is none.
    """
    rng, kept, waiting = np.random.default_rng(seed), _nothing(), list[_Rows]()
    for batch in _batches(teacher.file):
        of, items = users.places(_ids(batch, "user_id", teacher, dataset)), _ids(batch, "item_id", teacher, dataset)
        places = np.minimum(np.searchsorted(catalogue, items), len(catalogue) - 1)
        known = np.flatnonzero((of != OOV) & (catalogue[places] == items))
        keys, chances = Pairs(of[known], places[known]).keys, rng.random(len(known), np.float32)
        waiting.append(_Rows(keys, _logits(batch, teacher)[known], _times(batch)[known], chances))
        # As many as are kept already: so a long file is sorted a few times over, not once a batch.
        if sum(len(rows.keys) for rows in waiting) >= max(_BATCH_ROWS, len(kept.keys)):
            kept, waiting = _newest([kept, *waiting]), []
    kept = _newest([kept, *waiting])
    return Scores(Pairs.of(kept.keys), kept.logits)


def refuse_other_columns(file: Path) -> None:
    """Look at a file's columns alone.

    Raises:
        DataError: It cannot be read, lacks one, or one is of another type.
    """
    next(_batches(file, 1), None)


def _newest(parts: Sequence[_Rows]) -> _Rows:
    """Of each pair the newest row, and of each user at most `KEPT`."""
    keys, logits, times, chances = (np.concatenate(of) for of in zip(*parts, strict=True))
    order = np.lexsort((times, keys))
    newest = order[np.append(np.diff(keys[order]) != 0, True)[: len(order)]]
    users = Pairs.of(keys[newest]).users
    drawn = np.lexsort((chances[newest], users))
    first = np.searchsorted(users[drawn], users[drawn], "left")
    chosen = newest[drawn[np.arange(len(drawn)) - first < KEPT]]
    return _Rows(keys[chosen], logits[chosen], times[chosen], chances[chosen])


def _nothing() -> _Rows:
    return _Rows(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.float32))


def _ids(batch: pa.RecordBatch, name: str, teacher: Teacher, dataset: Dataset) -> Int64Array:
    """IDs as inside, int64 [n]."""
    ids, wanted = batch.column(name), dataset.spec.id_type
    if pa.types.is_integer(ids.type):
        numbers: Int64Array = ids.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return numbers
    if wanted == "string" and (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        return hash_ids(ids)
    raise DataError(f"{teacher.file}: {name} is of type {ids.type}, and those of {dataset.path} are {wanted}")


def _logits(batch: pa.RecordBatch, teacher: Teacher) -> Float32Array:
    """The scores as logits, float32 [n]."""
    given = batch.column("score").cast(pa.float64()).to_numpy(zero_copy_only=False)
    probable = teacher.scale == "probability"
    wrong = ~((given >= 0) & (given <= 1)) if probable else ~np.isfinite(given)
    if wrong.any():
        place = int(wrong.argmax())
        user, item = (batch.column(name)[place].as_py() for name in ("user_id", "item_id"))
        wanted = "0 to 1, since --teacher-scale is probability" if probable else "a finite number"
        raise DataError(f"{teacher.file}: the score of user {user} and item {item} is {given[place]:g}, not {wanted}")
    if probable:
        chance = np.clip(given, _CERTAIN, 1 - _CERTAIN)
        given = np.log(chance / (1 - chance))
    logits: Float32Array = given.astype(np.float32)
    return logits


def _times(batch: pa.RecordBatch) -> Int64Array:
    if _TIME not in batch.schema.names:
        return np.zeros(batch.num_rows, np.int64)
    times: Int64Array = batch.column(_TIME).cast(pa.int64()).to_numpy()
    return times


def _refuse_types(path: Path, schema: pa.Schema) -> None:
    score = schema.field("score").type
    if not (pa.types.is_integer(score) or pa.types.is_floating(score)):
        raise DataError(f"{path}: score is of type {score}, and a teacher's scores are numbers")
    time = schema.field(_TIME).type if _TIME in schema.names else pa.int64()
    if not (pa.types.is_integer(time) or pa.types.is_timestamp(time)):
        raise DataError(f"{path}: {_TIME} is of type {time}; by it the newest score counts, so write a timestamp")


def _batches(path: Path, rows: int = _BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as a teacher's scores ({error})") from error
    with file:
        names = file.schema_arrow.names
        if missing := [name for name in _NAMES if name not in names]:
            raise DataError(
                f"{path}: columns are {names}, and {', '.join(missing)} is not there; a teacher's file has "
                f"{', '.join(_NAMES)} and, where scores have an age, {_TIME}"
            )
        wanted = [*_NAMES, *({_TIME} & set(names))]
        _refuse_types(path, file.schema_arrow)
        for batch in file.iter_batches(rows, columns=wanted):
            for name in wanted:
                if batch.column(name).null_count:
                    place = pc.is_null(batch.column(name)).index(True).as_py()
                    raise DataError(f"{path}: {name} is empty in the row {batch.slice(place, 1).to_pylist()[0]}")
            yield batch
