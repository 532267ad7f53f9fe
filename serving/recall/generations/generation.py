"""A generation that answers: what its manifest says about how to read a request."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pagoda.channels.base import Known
from pagoda.channels.factory import with_table
from pagoda.channels.merging import EXPLORE
from pagoda.data.layout import DAY_US
from pagoda.data.spec import FeatureSpec
from pagoda.errors import RequestError
from pagoda.generations.manifest import MILVUS, Manifest
from pagoda.item_vectors.filter import Filter
from pagoda.item_vectors.filter_parser import FilterParser
from pagoda.item_vectors.item_fields import field_names
from pagoda.item_vectors.scoring import query, score
from pagoda.item_vectors.texts import text_names
from serving.http.features import read_ids, refuse_told, refuse_unknown, user_features
from serving.http.fields import PastItems, shown
from serving.recall.api import RecalledItem, RecallInstance
from serving.recall.lookup import Lookup
from serving.users.online_store import StoredUser

# See `IndexSettings.text`.
_WITHOUT_WORDS = {
    MILVUS: "Milvus and was built without words; with index.text: true the next full update builds one with them where "
    "Milvus is 2.5 or later (the embedded one is 2.3.5), and anywhere",
    "elasticsearch": "Elasticsearch, of which words are not asked here;",
}
"""Backends that may search no words, by name, and what else helps than to leave them."""


def moment_us(instance: RecallInstance) -> int:
    """The moment that an answer is for, in microseconds since 1970, UTC: now, where the request names none."""
    return time.time_ns() // 1000 if instance.timestamp is None else instance.timestamp


class LiveGeneration:
    """One manifest, made ready for requests."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.id: str = manifest.id
        self.spec: FeatureSpec = manifest.spec
        self._filters = FilterParser(manifest.spec)
        self._profile, self._context = user_features(manifest.spec)
        self._fields = frozenset(field_names(manifest.spec))
        declared = with_table(manifest.mixture.channels) if manifest.mixture else []
        self.table_channels = [channel for channel in declared if channel.kind != EXPLORE]
        """Those that are asked beside the towers; who explores is asked when these have answered."""

    def begin(self, instance: RecallInstance, place: str) -> Lookup:
        """A lookup of a user, or a refusal of what this generation cannot answer, before any server is asked.

        Raises:
            RequestError: An ID is not of the dataset's type, a feature is unknown, or the filter is wrong; the message
                names the field below `place`.
        """
        try:
            read_ids(self.spec, [instance.user_id], "user_id")
            if instance.history:
                read_ids(self.spec, [past["item_id"] for past in instance.history], "history.item_id")
                past = PastItems.of(instance.history)
                refuse_told(self.spec, past.events, past.texts)
            refuse_unknown("profile", instance.profile, self._profile)
            refuse_unknown("context", instance.context, self._context)
            wanted = self.wanted(instance.filter, instance.fields)
            self._refuse_penalty(instance)
            self._refuse_text(instance)
        except RequestError as error:
            raise RequestError(f"{place}.{error}") from None
        return Lookup(instance, wanted, self.manifest.prerank.candidates if self.manifest.prerank else 0)

    def wanted(self, wanted: Mapping[str, Any], fields: Sequence[str]) -> Filter:
        """What a request wants of items: its filter as this generation reads it.

        Raises:
            RequestError: The filter is wrong, or nothing is said of items by the name of a field.
        """
        self._refuse_fields(fields)
        return self._filters.parse(wanted)

    def told(self, instance: RecallInstance) -> RecallInstance:
        """The same without features that this generation does not read, for what was asked of another."""
        profile, context = _only(instance.profile, self._profile), _only(instance.context, self._context)
        return instance.model_copy(update={"profile": profile, "context": context})

    def tower_instance(self, instance: RecallInstance, stored: StoredUser) -> dict[str, Any]:
        """What the user tower is told: raw values, those of the request before the stored ones."""
        told: dict[str, Any] = {
            "user_id": instance.user_id,
            "profile": {**_only(stored.profile, self._profile), **instance.profile},
            "context": instance.context,
            "history": self._read_of(stored.recent) if instance.history is None else instance.history,
        }
        if instance.timestamp is not None:
            told["timestamp"] = instance.timestamp
        return told

    def known(self, instance: RecallInstance, stored: StoredUser) -> Known:
        """What channels are told of the user: raw values and past items, a request's own before the stored ones."""
        past = stored.recent if instance.history is None else PastItems.of(instance.history)
        moment, times = moment_us(instance), past.timestamps
        # Of so few, Python says the order in less time than NumPy's calls take.
        newest = sorted(range(len(times)), key=times.__getitem__, reverse=True)
        return Known(
            items=read_ids(self.spec, [past.ids[place] for place in newest], "history.item_id"),
            ages_days=np.array([max(moment - times[place], 0) / DAY_US for place in newest], np.float32),
            moment_us=moment,
            values={**_only(stored.profile, self._profile), **instance.profile, **instance.context},
        )

    def _read_of(self, recent: PastItems) -> PastItems:
        """Recent behaviour without what this generation does not read.

        What stands in for the store is what it said to whichever generation asked last.
        """
        if not (recent.events or recent.texts):
            return recent
        told = self.spec.history_events if self.spec.embeds_events else ()
        events = tuple(event if event in told else None for event in recent.events) if told else ()
        return recent._replace(events=events, texts=recent.texts if self.spec.past_text else ())

    def query(self, instance: RecallInstance, vector: list[float]) -> list[float]:
        """What the collection is asked: the user's vector, and where the dataset has rules, the penalty."""
        return vector if self.spec.rules is None else query(vector, self._penalty(instance))

    def scored(self, instance: RecallInstance, items: list[RecalledItem]) -> list[RecalledItem]:
        """What was found, with scores as the dataset's rules have them."""
        if penalty := self._penalty(instance):
            for item in items:
                item["score"] = score(item["score"], penalty)
        return items

    def _penalty(self, instance: RecallInstance) -> float:
        rules = self.spec.rules
        if rules is None or not rules.popularity:
            return 0.0
        return rules.penalty if instance.popularity_penalty is None else instance.popularity_penalty

    def _refuse_penalty(self, instance: RecallInstance) -> None:
        rules = self.spec.rules
        if instance.popularity_penalty is not None and (rules is None or not rules.popularity):
            raise RequestError("popularity_penalty: this generation's dataset does not declare rules.popularity")

    def _refuse_text(self, instance: RecallInstance) -> None:
        if instance.text is None:
            if instance.merge is not None:
                raise RequestError("merge: says how what `text` finds is merged, and there is no text")
        elif not self.manifest.texts:
            raise RequestError(f"text: {self._without_words()}; ask without text")

    def _without_words(self) -> str:
        """Why this generation cannot be searched by words, and what helps."""
        if not text_names(self.spec):
            return "this generation's dataset declares neither a title nor text features of items"
        if (where := _WITHOUT_WORDS.get(self.manifest.backend)) is not None:
            return (
                f"this generation's collection is in {where} `pagoda index rebuild --profile compact` with "
                "index.text: true brings it to where words are searched"
            )
        return (
            "this generation's collection was built without words; with index.text: true in pagoda.yaml the next full "
            "update builds one with them"
        )

    def _refuse_fields(self, asked: Sequence[str]) -> None:
        if unknown := [name for name in asked if name not in self._fields]:
            known = ", ".join(sorted(self._fields)) or "nothing: it declares neither a title nor features of items"
            raise RequestError(
                f"fields: {shown(unknown[0])} is not said of items; this generation's dataset has {known}"
            )

    def seen(self, instance: RecallInstance, stored: StoredUser) -> tuple[int, ...]:
        """IDs of the items that this user must not get."""
        if not instance.exclude_seen:
            return ()
        seen = {*stored.seen, *(past["item_id"] for past in instance.history or ())}
        return tuple(read_ids(self.spec, list(seen), "seen").tolist())


def _only(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}
