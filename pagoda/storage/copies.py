"""Copies of stored artifacts, verified; and their deletion."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec

from pagoda.errors import ConfigError, IntegrityError, UnavailableError
from pagoda.storage.atomic import build_folder, write_atomic
from pagoda.storage.checksums import checksum_file
from pagoda.storage.inventory import Inventory, verify
from pagoda.storage.stores import is_of_a_store

_SCHEMES = "s3://, gs://, https:// or file://"
_WEB = ("http", "https")


def fetch(uri: str, files: Inventory, into: Path) -> Path:
    """Copy `files` from below `uri` to the folder `into`, and verify every byte.

    `into` appears whole or not at all. One that is there already is verified, and replaced if it is damaged.

    Args:
        uri: A folder, or a URL that fsspec reads.
        files: Relative names and checksums.
        into: Where to.

    Raises:
        IntegrityError: A file is missing at `uri`, or is not what its checksum says.
        UnavailableError: The store does not answer.
    """
    if into.exists():
        try:
            verify(into, files)
            return into
        except IntegrityError:
            shutil.rmtree(into)
    with build_folder(into) as aside:
        for name in files:
            download(f"{uri}/{name}", aside / name)
        verify(aside, files)
    return into


def download(uri: str, path: Path) -> None:
    """Copy one file, not verified.

    Raises:
        IntegrityError: There is no such file.
        UnavailableError: The store does not answer, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _store_of(uri) as (files, place):
        files.get_file(place, str(path))


def verified(uri: str, checksum: str, copy: Path) -> Path:
    """A file where it is on this machine, or a copy of an object store's, with that checksum.

    Raises:
        IntegrityError: It is another.
        UnavailableError: It is not there or cannot be read now: its volume or its bucket may come back.
    """
    try:
        if (path := local_path(uri)) is None:
            download(uri, path := copy)
        found = checksum_file(path, checksum)
    except OSError as error:
        raise UnavailableError(f"{uri}: cannot be read ({error.strerror})") from error
    except IntegrityError as error:
        raise UnavailableError(str(error)) from error
    if found != checksum:
        raise IntegrityError(f"{uri}: is {found}, and the manifest says {checksum}")
    return path


def upload(path: Path, uri: str) -> None:
    """Copy one file to `uri`.

    Raises:
        UnavailableError: The store does not answer.
    """
    with _store_of(uri) as (files, place):
        files.put_file(str(path), place)


def replace(uri: str, content: bytes) -> None:
    """Put a small file in place of what is at `uri`, or of nothing: readers see the old one or the new one, whole.

    Raises:
        UnavailableError: The store does not answer, or the disk is full.
    """
    path = local_path(uri)
    with _store_of(uri) as (files, place):
        if path is None:
            files.pipe_file(place, content)
        else:
            write_atomic(path, content)


def read(uri: str) -> bytes | None:
    """A small file, None where there is none.

    Raises:
        UnavailableError: The store does not answer.
    """
    with _store_of(uri) as (files, place), suppress(FileNotFoundError):
        return bytes(files.cat_file(place))
    return None


def copy(source: str, uri: str) -> None:
    """Copy one file from a path or URL to another; within an object store, the store does it.

    Raises:
        IntegrityError: There is no such file.
        UnavailableError: A store does not answer.
    """
    path = local_path(source)
    with _store_of(uri) as (files, place):
        if path is None:
            files.copy(_store_path(source), place)
            return
        files.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
        files.put_file(str(path), place)


def _store_path(uri: str) -> str:
    return str(fsspec.core.url_to_fs(uri)[1])


def delete(uri: str) -> None:
    """Delete everything below `uri`; nothing there is fine.

    Raises:
        UnavailableError: The store does not answer.
    """
    with _store_of(uri) as (files, place):
        if files.exists(place):
            with suppress(FileNotFoundError):  # somebody else deletes it as well
                files.rm(place, recursive=True)


def children(uri: str) -> list[str]:
    """Names directly below `uri`, sorted; none when it does not exist.

    Raises:
        UnavailableError: The store does not answer.
    """
    with _store_of(uri) as (files, place):
        found = files.ls(place, detail=False) if files.exists(place) else []
    return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)


def size(uri: str) -> int:
    """Bytes below `uri`; 0 when it does not exist."""
    with _store_of(uri) as (files, place):
        return int(files.du(place)) if files.exists(place) else 0


def sizes(uri: str) -> dict[str, int]:
    """Bytes of every file below `uri`, by its relative name; none when it does not exist.

    Raises:
        UnavailableError: The store does not answer.
    """
    with _store_of(uri) as (files, place):
        found = files.find(place, detail=True)
    return {name.removeprefix(place).lstrip("/"): int(about["size"]) for name, about in sorted(found.items())}


def listing(uri: str) -> list[str]:
    """The relative names of the files below `uri`, sorted; `[""]` if it is a file itself.

    Raises:
        IntegrityError: There is neither.
        UnavailableError: The store does not answer.
        ConfigError: The scheme is not known.
    """
    scheme = uri.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise ConfigError(f"{uri}: scheme {scheme!r} is not known; a source is a path, or begins with {_SCHEMES}")
    with _store_of(uri) as (files, place):
        # Of the web, whatever a page links to would be below it.
        if scheme in _WEB or files.info(place)["type"] == "file":
            return [""]
        found = files.find(place)
    return sorted(name.removeprefix(place).lstrip("/") for name in found)


def local_path(uri: str) -> Path | None:
    """The path that `uri` is on this machine, None for an object store's."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    return Path(rest) if scheme == "file" else None


@contextmanager
def _store_of(uri: str) -> Iterator[tuple[Any, str]]:
    try:
        files, place = fsspec.core.url_to_fs(uri, use_listings_cache=False)
        yield files, place
    except FileNotFoundError as error:
        raise IntegrityError(f"{uri} is missing") from error
    except (OSError, ValueError, ImportError) as error:
        raise UnavailableError(f"{uri}: {error}") from error
    except Exception as error:
        if not is_of_a_store(error):
            raise
        raise UnavailableError(f"{uri}: {error}") from error
