"""A generation that answers: what its manifest says about how to read a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.index.filters import Filters
from pagoda.registry.manifest import Manifest
from serving.recall.api import RecallInstance
from serving.recall.store import StoredUser
from serving.tower.inputs import read_ids, refuse_unknown, user_features


class LiveGeneration:
    """One manifest, made ready for requests."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.id: str = manifest.id
        self.spec: FeatureSpec = manifest.spec
        self._filters = Filters(manifest.spec)
        self._profile, self._context = user_features(manifest.spec)

    def check(self, instance: RecallInstance, place: str) -> None:
        """Refuse, before any server is asked, what this generation cannot answer.

        Raises:
            RequestError: An ID is not of the dataset's type, a feature is unknown, or the filter is wrong; the message
                names the field below `place`.
        """
        try:
            read_ids(self.spec, [instance.user_id], "user_id")
            if instance.history:
                read_ids(self.spec, [past["item_id"] for past in instance.history], "history.item_id")
            refuse_unknown("profile", instance.profile, self._profile)
            refuse_unknown("context", instance.context, self._context)
            self._filters.expression(instance.filter)
        except RequestError as error:
            raise RequestError(f"{place}.{error}") from None

    def tower_instance(self, instance: RecallInstance, stored: StoredUser) -> dict[str, Any]:
        """What the user tower is told: raw values, those of the request before the stored ones."""
        told: dict[str, Any] = {
            "user_id": instance.user_id,
            "profile": {**_only(stored.profile, self._profile), **instance.profile},
            "context": instance.context,
            "history": stored.recent if instance.history is None else instance.history,
        }
        if instance.timestamp is not None:
            told["timestamp"] = instance.timestamp
        return told

    def expression(self, instance: RecallInstance, stored: StoredUser) -> str:
        """What the items must satisfy, as Milvus takes it."""
        if not instance.exclude_seen:
            return self._filters.expression(instance.filter)
        seen = {*stored.seen, *(past["item_id"] for past in instance.history or ())}
        return self._filters.expression(instance.filter, read_ids(self.spec, list(seen), "seen"))


def _only(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}
