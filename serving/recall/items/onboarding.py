"""What to show first to whom nothing is known of, as a generation's full version says it."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from pagoda.errors import IntegrityError, RequestError, UnavailableError
from pagoda.generations.manifest import Manifest
from pagoda.storage.copies import verified
from serving.recall.generations.generation import LiveGeneration
from serving.recall.generations.per_version import PerVersion
from serving.users.keys import Key


class Onboarding:
    """The items to show first of all generations that serve, as callers know them."""

    def __init__(self, removed: Set[Key] = frozenset()) -> None:
        """Hold nothing yet; `removed` items are left out, and may change at any time."""
        self._removed = removed
        self._lists: PerVersion[list[Key]] = PerVersion(_read, "has nothing to show first")

    async def warm(self, live: LiveGeneration) -> None:
        """Read a generation's, unless that was done or it declares none; see `PerVersion.warm`."""
        if live.manifest.onboarding is not None:
            await self._lists.warm(live)

    def first(self, live: LiveGeneration, count: int) -> list[Key]:
        """The first items, fewer where there are fewer.

        Raises:
            RequestError: The generation says nothing of it.
            UnavailableError: Its list could not be read yet.
        """
        if live.manifest.onboarding is None:
            raise RequestError(
                "onboarding: what serves was trained without `cold: {users: interests}`, which finds what to show first"
            )
        if (items := self._lists.get(live)) is None:
            raise UnavailableError(f"generation {live.id}: what to show first could not be read", part="onboarding")
        return [item for item in items if item not in self._removed][:count]


def _read(manifest: Manifest) -> list[Key]:
    """Read a generation's list.

    Raises:
        UnavailableError: The file is not there, or cannot be read now.
        IntegrityError: It is not what it should be.
    """
    if (file := manifest.onboarding) is None:
        raise IntegrityError(f"generation {manifest.id}: declares nothing to show first")
    with TemporaryDirectory(prefix="pagoda-onboarding-") as folder:
        path = verified(file.uri, file.checksum, Path(folder, "items"))
        try:
            items: list[Key] = pq.read_table(path, columns=["item_id"])["item_id"].to_pylist()
        except (OSError, pa.ArrowException, KeyError) as error:
            raise IntegrityError(f"{file.uri}: not readable as items to show first ({error})") from error
    return items
