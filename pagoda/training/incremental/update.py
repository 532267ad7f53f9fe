"""The incremental update: what happened since the watermark, in time order, into user-ID rows and nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pagoda.config.training import TrainConfig
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.embeddings.segment import Segment, SegmentDescription
from pagoda.erasure.pending import NOBODY
from pagoda.errors import ConfigError
from pagoda.storage.atomic import build_folder
from pagoda.training.device import few_threads
from pagoda.training.drift import check_table
from pagoda.training.incremental.examples import Examples, read_examples
from pagoda.training.incremental.frozen_base import FrozenBase
from pagoda.training.incremental.learner import Int64Array, Learned, forget, learn
from pagoda.version_files.full import FullVersionFiles
from pagoda.version_files.incremental import (
    SEGMENT,
    STATE,
    STATE_FILE,
    VERSION,
    IncrementalFiles,
    StateDescription,
    StateRows,
)


def incremental_update(
    dataset: Dataset,
    window: Window,
    base: FullVersionFiles | FrozenBase,
    parent: IncrementalFiles | None,
    config: TrainConfig,
    *,
    out: Path,
    base_version: int = 0,
    forgotten: Int64Array = NOBODY.ids,
) -> IncrementalFiles | None:
    """Learn a window over a full version and write the rows that changed to `out`, all or nothing.

    Args:
        dataset: Where the interactions, users and items are.
        window: From the watermark (the end of the parent's window, or the base's) to the new watermark.
        base: The full version; opened as a `FrozenBase`, it serves several updates without being read again.
        parent: The incremental before this one on the same base, with those below it; None for the first.
        config: How; its section `incremental`. With the arguments above it determines the result to the bit.
        out: A folder that does not exist yet. `out/version` holds the segment, `out/state` the second artifact.
        base_version: Number of the base in the registry, unless `base` is open and knows it.
        forgotten: int64 [n], ascending: users whose rows become the out-of-vocabulary row, if they have any.

    Returns:
        The files; None when the window holds no positive, and then nothing is written: the next window begins at the
        same watermark.

    Raises:
        ConfigError: The window does not begin at the watermark, or the features are not the base's.
        DataError: The dataset breaks its contract.
        GateError: The loss is not finite or a row too long. Nothing is written.
        IntegrityError: Something that must not change did. Nothing is written.
        ConflictError: `out` exists already.
    """
    began = time.perf_counter()
    frozen = base if isinstance(base, FrozenBase) else FrozenBase(base, dataset, base_version)
    _refuse_gap(window, watermark_of(frozen.files, parent))
    with few_threads():
        examples = read_examples(frozen, window, parent)
        if examples is None:
            return None
        learned = forget(learn(frozen, parent, examples, config.incremental), frozen, parent, forgotten)
    check_table("user", learned.table, config.drift)
    late = count_late(dataset, window, parent, config)
    checksums = frozen.prove_frozen()
    with build_folder(out) as aside:
        (aside / VERSION).mkdir()
        segment = _write_segment(aside / VERSION / SEGMENT, frozen, window, parent, learned)
        rows = _state_rows(learned, examples)
        description = StateDescription(
            window=window,
            segment=segment.checksum,
            frozen=checksums,
            interactions=examples.interactions,
            duplicates=examples.duplicates,
            positives=len(examples),
            late=late,
            new_users=learned.new_users,
            loss=learned.loss,
            seconds=time.perf_counter() - began,
            rows=len(learned.table.ids),
            histories=len(rows.users),
            history_length=rows.items.shape[1],
            history_kinds=rows.kinds is not None,
            frequencies=len(rows.frequencies),
            files=rows.write(aside / STATE),
        )
        (aside / STATE / STATE_FILE).write_text(description.model_dump_json(indent=1))
    return IncrementalFiles(out / VERSION, out / STATE, parent)


def watermark_of(base: FullVersionFiles, parent: IncrementalFiles | None) -> datetime:
    """Up to when a base with its chain has learned."""
    return parent.window.end if parent else base.lineage.window.end


def open_chain(outs: Sequence[Path]) -> IncrementalFiles | None:
    """The incremental versions that `incremental_update` wrote to `outs`, the oldest first; None for none.

    Raises:
        IntegrityError: A file is missing.
    """
    below: IncrementalFiles | None = None
    for out in outs:
        below = IncrementalFiles(out / VERSION, out / STATE, below)
        _ = below.description
    return below


def count_late(dataset: Dataset, window: Window, parent: IncrementalFiles | None, config: TrainConfig) -> int:
    """Count interactions that appeared in the chain's last windows after these were learned.

    They stay unlearned until the next full update, which reads everything. Looked at are whole windows of the chain
    that begin within `late_horizon_seconds` before `window`.
    """
    horizon = window.start - timedelta(seconds=config.incremental.late_horizon_seconds)
    recent = [link for link in (parent.chain if parent else ()) if link.window.start >= horizon]
    if not recent:
        return 0
    span = Window(start=recent[-1].window.start, end=recent[0].window.end)
    events = {*dataset.spec.positives, *dataset.spec.history_events}
    known = sum(link.description.interactions for link in recent)
    return max(0, dataset.count(span, events=events) - known)


def _refuse_gap(window: Window, watermark: datetime) -> None:
    if window.start != watermark:
        raise ConfigError(
            f"the window starts at {window.start.isoformat()}, but the watermark is {watermark.isoformat()}: each "
            "interaction is learned once, and none is left out"
        )


def _write_segment(
    folder: Path, base: FrozenBase, window: Window, parent: IncrementalFiles | None, learned: Learned
) -> SegmentDescription:
    return Segment.write(
        folder,
        learned.table.ids,
        learned.table.rows.numpy()[1:],
        base_checksum=base.users.checksum,
        base_version=base.version,
        window=window,
        parent=parent.description.segment if parent else None,
    )


def _state_rows(learned: Learned, examples: Examples) -> StateRows:
    past, squares = examples.past, learned.table.squares.numpy()[1:]
    chances = learned.chances.learned()
    return StateRows(squares, past.users, past.items, past.times_us, past.counts, *chances, kinds=past.kinds)
