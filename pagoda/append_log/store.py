"""Where the records of the log lie: a folder, or an S3 bucket. Both can only create, never replace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pagoda.errors import ConfigError, UnavailableError
from pagoda.storage.atomic import put_if_absent


class RecordStore(Protocol):
    """Immutable named blobs, each created by exactly one writer."""

    def put(self, name: str, content: bytes) -> None:
        """Create `name`, whole or not at all.

        Raises:
            ConflictError: `name` exists already. Of two concurrent writers exactly one wins.
            UnavailableError: The store does not answer or refuses.
        """

    def read(self, names: Sequence[str]) -> list[bytes]:
        """The contents of `names` up to the first that does not exist.

        Raises:
            UnavailableError: The store does not answer or refuses.
        """


class FolderStore:
    """Records in a folder of a file system that has hard links."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """See `RecordStore.put`."""
        try:
            put_if_absent(self._folder / name, content)
        except OSError as error:
            raise UnavailableError(f"{self._folder}: cannot write {name} ({error.strerror})") from error

    def read(self, names: Sequence[str]) -> list[bytes]:
        """See `RecordStore.read`."""
        contents = []
        for name in names:
            try:
                contents.append((self._folder / name).read_bytes())
            except FileNotFoundError:
                break
            except OSError as error:
                raise UnavailableError(f"{self._folder}: cannot read {name} ({error.strerror})") from error
        return contents


def open_store(url: str) -> RecordStore:
    """The store behind a folder or `s3://bucket/prefix`.

    Raises:
        ConfigError: The URL is neither.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return FolderStore(Path(url))
    if scheme == "file":
        return FolderStore(Path(rest))
    if scheme == "s3":
        # boto3 is heavy, and one machine needs none of it.
        from pagoda.append_log.bucket import BucketStore

        bucket, _, prefix = rest.partition("/")
        return BucketStore(bucket, prefix)
    raise ConfigError(f"{url!r}: give a folder or s3://bucket/prefix")
