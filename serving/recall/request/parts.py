"""What a request goes through, stage by stage, and what stands in for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from serving.recall.channels.base import Channel
from serving.recall.channels.exploration import Exploration
from serving.recall.channels.tables import TableChannels
from serving.recall.explanation.explainer import Explainer
from serving.recall.fallback.fallback import Fallback
from serving.recall.fallback.vector_cache import VectorCache
from serving.recall.items.item_values import ItemValues
from serving.recall.items.onboarding import Onboarding
from serving.recall.items.preranking import PreRanking
from serving.recall.servers.ports import Store, Tower


@dataclass(frozen=True, slots=True)
class Parts:
    """What a request goes through."""

    store: Store
    tower: Tower
    channels: tuple[Channel, ...]
    """In the order in which they are asked."""
    fallback: Fallback | None = None
    """What stands in for store and tower; None: nothing does."""
    vector_cache: VectorCache | None = None
    """Keeps the vectors that the tower computes; None: nothing does."""
    item_values: ItemValues = field(default_factory=lambda: ItemValues({}))
    """Says more of items than their IDs, where a request asks that."""
    onboarding: Onboarding = field(default_factory=Onboarding)
    """Says what to show first."""
    tables: TableChannels = field(default_factory=TableChannels)
    """Asked beside the channels, of a generation that declares some."""
    exploration: Exploration | None = None
    """Puts new items among the others, of a generation that explores; None: an answer says that it is missing."""
    preranking: PreRanking = field(default_factory=PreRanking)
    """Orders what was found, where a generation has a model for that."""
    text: Channel | None = None
    """Asked beside the channels, where a request has text; None: the index searches no words."""
    second: Channel | None = None
    """Asks another generation, of one that declares that; None: an answer says that it is missing."""
    explainer: Explainer = field(default_factory=Explainer)
    """Says how an answer came about, where a request asks that."""
    deadlines: bool = True
    """Whether those hold that a generation declares for channels."""

    @property
    def strict(self) -> Parts:
        """The same without anything that stands in."""
        return replace(self, fallback=None, channels=tuple(one for one in self.channels if not one.stands_in))
