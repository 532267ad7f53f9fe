"""The port of a channel: one source of candidates for a request."""

from __future__ import annotations

from typing import Protocol

from serving.recall.api import RecalledItem
from serving.recall.generations.generation import LiveGeneration
from serving.recall.lookup import Lookup


class Channel(Protocol):
    """Gives candidates. Shared by all requests, and by all generations that serve.

    What it holds of a generation, it holds by that (`WeakKeyDictionary`): two may serve, and neither may get the
    other's.
    """

    name: str
    """As in `Lookup.candidates`; no two have the same."""
    stands_in: str = ""
    """The step that marks an answer of it, where it answers only for others that did not; empty: it is a source in its
    own right."""

    async def warm(self, live: LiveGeneration) -> None:
        """Get ready for a generation before it serves. An error keeps it from serving.

        It is called again while the generation serves, for what could not be had before; what is ready costs nothing.
        """
        del live  # Most channels need nothing.

    async def candidates(self, live: LiveGeneration, lookup: Lookup) -> list[RecalledItem]:
        """Up to `lookup.depth` items with scores, by falling score.

        Args:
            live: The generation that answers.
            lookup: The user, after the tower's stage.

        Raises:
            UnavailableError: It has none to give now; another channel may.
        """
