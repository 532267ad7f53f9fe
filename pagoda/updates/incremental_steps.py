"""What each step of an incremental update does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pagoda.code_version import code_version
from pagoda.erasure.pending import open_pending
from pagoda.generations.creation import add_incremental
from pagoda.generations.manifest import Manifest
from pagoda.generations.release_log import open_log
from pagoda.generations.state import ReleaseState
from pagoda.generations.versions import VersionDraft, VersionRecord
from pagoda.item_vectors.parts import is_list, read_parts
from pagoda.registry.factory import open_registry
from pagoda.registry.publish import publish as publish_generation
from pagoda.settings import Settings
from pagoda.storage.copies import fetch
from pagoda.updates.incremental import IncrementalUpdate, Nothing, live_bases, resolve, scratch_of
from pagoda.updates.readiness import checks_of
from pagoda.version_files.full import (
    CATEGORY_MEANS,
    CONFIG,
    ENCODER,
    ITEMS,
    LINEAGE,
    POPULARITY,
    TOWERS,
    USERS,
    FullVersionFiles,
)
from pagoda.version_files.incremental import STATE, VERSION, IncrementalFiles

# What learns is imported where it is used: a step that learns nothing shall not wait for PyTorch.
if TYPE_CHECKING:
    from pagoda.training.incremental.frozen_base import FrozenBase

MODEL = "model"
"""The one folder that an incremental update makes."""
_PARTS = (ENCODER, CONFIG, LINEAGE, POPULARITY, TOWERS, USERS, ITEMS)
"""What an incremental reads of any base."""


@dataclass(frozen=True)
class Done:
    """An incremental update that ended well."""

    record: VersionRecord
    manifest: Manifest
    served: bool
    """Whether an arm answers with it."""
    seconds_to_serve: float
    """From registered to released, which is when every checked host holds it."""
    waits: str = ""
    """Why no arm answers with it yet, for people."""


Deliver = Callable[[IncrementalUpdate, Manifest], str]
"""Brings a new generation to its users; returns why no arm answers with it yet, or nothing when one does."""


def run_all(settings: Settings, dataset: str, now: datetime | None = None) -> dict[int, Done | Nothing]:
    """Update every live full version, each on its own chain; by the version's number.

    Raises:
        PagodaError: A step of one failed. Running it again finishes the job.
    """
    return {base: run(settings, dataset, base, now) for base in live_bases(open_log(settings).state())}


def run(
    settings: Settings, dataset: str, base: int, now: datetime | None = None, deliver: Deliver | None = None
) -> Done | Nothing:
    """Update one full version from its watermark to `now`, and bring that to its users.

    Args:
        settings: Of this installation.
        dataset: Folder or URL.
        base: The full version.
        now: The present; None: the clock's, see `resolve`.
        deliver: How; None: at once, to the arm that the full version answers, if any.

    Raises:
        PagodaError: A step failed. Running it again finishes the job.
    """
    lateness = base_files(settings, base).config.incremental.lateness_seconds
    update = resolve(settings, dataset, base, now, lateness_seconds=lateness)
    return update if isinstance(update, Nothing) else carry_out(update, deliver)


def catch_up_to(settings: Settings, dataset: str, base: int, now: datetime | None = None) -> Manifest | None:
    """Bring a full version up to now on its own base before it is offered; None when it is there already."""
    done = run(settings, dataset, base, now)
    return done.manifest if isinstance(done, Done) else None


def carry_out(update: IncrementalUpdate, deliver: Deliver | None = None) -> Done:
    """All steps; those that are done already are not done again. See `run`."""
    # Checked before it is registered, since what is in the log may be served.
    train(update)
    check(update)
    record = register(update)
    began = time.perf_counter()
    manifest = add_incremental(open_log(update.settings), record.version)
    waits = deliver(update, manifest) if deliver else _publish(update, manifest)
    return Done(record, manifest, not waits, time.perf_counter() - began, waits)


def train(update: IncrementalUpdate) -> IncrementalFiles:
    """Learn the window."""
    from pagoda.training.incremental.update import incremental_update

    def learn(folder: Path) -> None:
        base, parent = frozen_base(update), chain_files(update.settings, update.parent)
        forgotten = open_pending(update.settings).forgotten(update.data.spec).ids
        incremental_update(update.data, update.window, base, parent, base.config, out=folder, forgotten=forgotten)

    update.outputs.make(MODEL, learn)
    return files_of(update)


def check(update: IncrementalUpdate) -> None:
    """Prove that nothing but user rows changed.

    Raises:
        IntegrityError: Something else did, or the artifact holds something else.
    """
    from pagoda.training.incremental.invariance_check import check_incremental

    base = open_registry(update.settings).get(update.base)
    check_incremental(files_of(update), update.base, base.files, exported_vectors(update))


def register(update: IncrementalUpdate) -> VersionRecord:
    """Register the version and its state."""
    files = files_of(update)
    about = files.description
    counts = about.model_dump(include={"rows", "positives", "duplicates", "late", "new_users", "loss", "seconds"})
    draft = VersionDraft(
        key=update.key,
        update="incremental",
        base=update.base,
        window=update.window,
        parent=update.parent,
        metrics={name: float(value) for name, value in counts.items()},
        tags={"code": code_version()},
        folder=files.folder,
        state_folder=files.state,
    )
    return open_registry(update.settings).register(draft)


def publish(update: IncrementalUpdate, manifest: Manifest) -> bool:
    """Let the arm that the base answers answer with the new generation; False when it answers none."""
    log = open_log(update.settings)
    state = log.state()
    if state.arm_of(update.base) is None:
        return False
    publish_generation(log, manifest.id, checks=checks_of(update.settings, state), reason="incremental")
    return True


def _publish(update: IncrementalUpdate, manifest: Manifest) -> str:
    return "" if publish(update, manifest) else "is ready; no arm has its base"


def files_of(update: IncrementalUpdate) -> IncrementalFiles:
    """What the train step made."""
    folder = update.outputs.get(MODEL)
    return IncrementalFiles(folder / VERSION, folder / STATE)


def base_files(settings: Settings, base: int) -> FullVersionFiles:
    """A full version's files on this machine: fetched and verified once, mapped read-only ever after."""
    registry, folder = open_registry(settings), scratch_of(settings, base)
    # Not every base has them, and to fetch what is not there is an error.
    wanted = (*_PARTS, CATEGORY_MEANS) if CATEGORY_MEANS in registry.get(base).files else _PARTS
    if not all((folder / VERSION / part).exists() for part in wanted):
        registry.fetch(base, folder / VERSION, wanted)
    if not (folder / STATE).exists():
        registry.fetch_state(base, folder / STATE)
    return FullVersionFiles(folder / VERSION, folder / STATE)


def frozen_base(update: IncrementalUpdate) -> FrozenBase:
    """The base, opened against the item vectors that serve."""
    from pagoda.training.incremental.frozen_base import FrozenBase

    files = base_files(update.settings, update.base)
    return FrozenBase(files, update.data, update.base, vectors=exported_vectors(update))


def exported_vectors(update: IncrementalUpdate) -> Path:
    """The item vectors that the base's collection was built from, verified: a file, or a folder of its parts."""
    exported = _base_manifest(open_log(update.settings).state(), update.base).item_vectors
    folder = scratch_of(update.settings, update.base)
    path = _fetch(exported.uri, exported.checksum, folder / "vectors")
    if is_list(path):
        for number, part in enumerate(read_parts(path).parts):
            _fetch(part.uri, part.checksum, folder / "parts" / f"{number:05}")
        return folder / "parts"
    return path


def _fetch(uri: str, checksum: str, folder: Path) -> Path:
    place, name = uri.rsplit("/", 1)
    return fetch(place, {name: checksum}, folder) / name


def chain_files(settings: Settings, newest: int | None) -> IncrementalFiles | None:
    """An incremental version with those below it, down to the base; each is fetched once."""
    registry, numbers = open_registry(settings), []
    while newest is not None:
        numbers.append(newest)
        newest = registry.get(newest).parent
    below: IncrementalFiles | None = None
    for number in reversed(numbers):
        folder = scratch_of(settings, number)
        for part, bring in ((VERSION, partial(registry.fetch, number)), (STATE, partial(registry.fetch_state, number))):
            if not (folder / part).exists():
                bring(folder / part)
        below = IncrementalFiles(folder / VERSION, folder / STATE, below)
    return below


def _base_manifest(state: ReleaseState, base: int) -> Manifest:
    return next(manifest for manifest in state.generations.values() if manifest.full_version == base)
