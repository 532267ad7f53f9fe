"""Durable writes on a file system: build aside, fsync, then one atomic switch (invariant 4)."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from pagoda.errors import ConflictError

_FLUSHED_AT_ONCE = 16


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable; without it a rename can be lost with the power."""
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably: a file is lost with the name of its folder."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        fsync_folder(folder.parent)


def write_aside(path: Path, content: bytes) -> Path:
    """Write `content` durably to a fresh temporary name beside `path` and return that name."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return aside


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: readers see the old file or the new one, never a part."""
    aside = write_aside(path, content)
    aside.replace(path)
    fsync_folder(path.parent)


def move_durably(made: Path, path: Path) -> None:
    """Put a file that was made beside `path` in its place: after a crash there is the old one or the new one, whole."""
    _fsync(made)
    made.replace(path)
    fsync_folder(path.parent)


def replace_by(path: Path, made: Path) -> None:
    """Replace `path`, which exists, by a copy of `made`: readers see the old file or the new one, never a part."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*"):  # Of one who was killed while replacing it.
        leftover.unlink(missing_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        shutil.copyfile(made, aside)
        aside.chmod(path.stat().st_mode & 0o777)
        move_durably(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def put_if_absent(path: Path, content: bytes) -> None:
    """Create `path` with `content`, whole or not at all.

    Raises:
        ConflictError: `path` exists already. Of two concurrent writers exactly one wins.
    """
    aside = write_aside(path, content)
    try:
        # A hard link fails if the name exists and, unlike O_EXCL + write, never shows a half-written file.
        os.link(aside, path)
    except FileExistsError:
        raise ConflictError(f"{path} exists already; another writer was first") from None
    finally:
        aside.unlink()
    fsync_folder(path.parent)


@contextmanager
def build_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends well, sync it and rename it to `path`.

    When the block fails, nothing remains, nor do folders above it that were made for it. What a killed process left
    aside is removed by the next build of `path`.

    Raises:
        ConflictError: `path` exists already.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_asides(path.parent, path.name)
    aside, lock = _make_aside(path)
    try:
        yield aside
        sync_tree(aside)
        try:
            aside.rename(path)
        except OSError as error:
            if path.exists():
                raise ConflictError(f"{path} exists already; another writer was first") from error
            raise
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # Somebody else's are in it by now.
            for folder in made:
                folder.rmdir()
        raise
    finally:
        if lock is not None:
            os.close(lock)
    fsync_folder(path.parent)


def sweep_asides(folder: Path, name: str = "") -> None:
    """Remove the folders that killed builds of `name`, or of anything, left in `folder`; those that go on stay."""
    for leftover in folder.glob(f".{glob.escape(name)}.*" if name else ".*.*"):
        if (lock := _locked(leftover, fcntl.LOCK_NB)) is not None:  # Else somebody is building there.
            shutil.rmtree(leftover, ignore_errors=True)
            os.close(lock)


def is_being_built(path: Path) -> bool:
    """Whether somebody builds the folder `path` now, as far as its file system knows locks."""
    aside = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}")
    beside = path.parent.glob(f".{glob.escape(path.name)}.*")
    return any(_is_held(one) for one in beside if aside.fullmatch(one.name))


def _is_held(folder: Path) -> bool:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # It is gone by now.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


def _make_aside(path: Path) -> tuple[Path, int | None]:
    """A folder beside `path`, and the lock on it, which ends with the process; None where folders take none (NFS)."""
    while True:
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        aside.mkdir()
        lock = _locked(aside)
        if aside.exists():  # Else another build took it for a leftover, before it was locked.
            return aside, lock
        if lock is not None:
            os.close(lock)


def _locked(folder: Path, how: int = 0) -> int | None:
    """A descriptor of a folder that nobody else holds, locked; None: somebody does, it is gone, or has no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | how)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to disk, several at a time: a file system makes one commit of them."""
    paths = [Path(directory) / name for directory, _, names in os.walk(folder) for name in (*names, ".")]
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as threads:
        for _ in threads.map(_fsync, paths):  # An error of one of them is raised here.
            pass
