"""Raw feature values to the arrays that the towers take: the same for training, export and each request (invariant 9).

Imports no torch, since serving uses it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pagoda.data.spec import (
    COMPUTED,
    Categorical,
    Dense,
    Feature,
    FeatureSpec,
    MultiValued,
    Numeric,
    PastText,
    Source,
    Text,
    TimeOf,
    Tower,
)
from pagoda.errors import DataError, IntegrityError
from pagoda.model.features.categorical import CategoricalCodec, MultiValuedCodec, Vocabulary
from pagoda.model.features.codec import UNKNOWN, Codec, Form, word
from pagoda.model.features.moments import TimeCodec
from pagoda.model.features.numeric import DenseCodec, NumericCodec
from pagoda.model.features.text import TextCodec

Encoded = dict[str, NDArray[Any]]
"""Feature name to array: int64 [n] (index), int64 [n, width] (bag, -1 pads) or float32 [n, width] (dense)."""


class Field(NamedTuple):
    """What a tower must know about one encoded feature."""

    name: str
    form: Form
    size: int
    """Distinct indices (the first is "unknown"), or the width of a dense feature."""


class Encoder:
    """A feature declaration with its fitted vocabularies."""

    def __init__(self, spec: FeatureSpec, vocabularies: Mapping[str, Sequence[str]] | None = None) -> None:
        """Make an encoder whose vocabularies hold the given words by feature name; the others are empty."""
        self.spec = spec
        words = vocabularies or {}
        self._codecs = {f.name: _codec(f, Vocabulary(list(words.get(f.name, ()))), spec) for f in spec.features}
        self._names = {tower: tuple(f.name for f in spec.of(tower)) for tower in get_args(Tower)}

    @classmethod
    def fit(cls, spec: FeatureSpec, users: pa.Table, items: pa.Table, previous: Encoder | None = None) -> Encoder:
        """Take in the words of both tables after those of `previous`, whose indices stay.

        Raises:
            DataError: `previous` was fitted to another declaration, so its indices mean something else.
        """
        if previous is not None and not previous.reads(spec):
            raise DataError("the feature declaration differs from the previous encoder's; fit a new one without it")
        encoder = cls(spec, previous.vocabularies if previous else None)
        encoder.grow("user", users)
        encoder.grow("item", items)
        return encoder

    def reads(self, spec: FeatureSpec) -> bool:
        """Whether a dataset of this declaration is encoded as this encoder's own. Receipts say something of events, and
        no tower reads them, so they may be declared at any time."""
        return self.spec.model_copy(update={"receipts": spec.receipts}) == spec

    def grow(self, tower: Tower, table: pa.Table) -> None:
        """Take in the words of one tower's features that `table` has columns for."""
        for feature in self.spec.of(tower):
            codec = self._codecs[feature.name]
            if isinstance(codec, CategoricalCodec | MultiValuedCodec) and feature.column in table.column_names:
                codec.grow(table.column(feature.column))

    def share_words(self, of: str, to: str) -> NDArray[np.int64]:
        """Take the words of one categorical or multi-valued feature into the vocabulary of another.

        Returns:
            int64 [size]: what each index of the one is in the other; `UNKNOWN` stays.
        """
        given, taking = self._codecs[of], self._codecs[to]
        if not isinstance(given, CategoricalCodec | MultiValuedCodec):
            raise TypeError(f"feature {of} has no words")
        if not isinstance(taking, CategoricalCodec | MultiValuedCodec):
            raise TypeError(f"feature {to} has no words")
        taking.vocabulary.grow(given.vocabulary.words)
        return np.array([UNKNOWN, *(taking.vocabulary.index[word] for word in given.vocabulary.words)], np.int64)

    @property
    def vocabularies(self) -> dict[str, list[str]]:
        """The words of each feature that has a vocabulary; word i has index i + 1."""
        codecs = self._codecs.items()
        return {
            name: codec.vocabulary.words
            for name, codec in codecs
            if isinstance(codec, CategoricalCodec | MultiValuedCodec)
        }

    def fields(self, tower: Tower) -> list[Field]:
        """The encoded features of one tower, in declared order."""
        codecs = ((f.name, self._codecs[f.name]) for f in self.spec.of(tower))
        return [Field(name, codec.form, codec.size) for name, codec in codecs]

    def encode_table(
        self,
        tower: Tower,
        table: pa.Table,
        timestamps_us: NDArray[np.int64] | None = None,
        *,
        source: Source | None = None,
    ) -> Encoded:
        """Encode columns of raw values; a missing column is missing in every row.

        Args:
            tower: Whose features.
            table: n rows, columns of the types that `Dataset` gives them. Users' zones are among them whatever the
                source, where a time feature needs them.
            timestamps_us: int64 [n], the moments that time features are parts of.
            source: Only the features of the users' or items' tables, or only those that come with the interaction
                (context, time, past texts), so that a user's profile need not be encoded again for each of their
                interactions.

        Raises:
            DataError: A dense vector has another length than declared.
        """
        encoded: Encoded = {}
        for feature in self._features(tower, source):
            codec = self._codecs[feature.name]
            if isinstance(codec, TimeCodec):
                encoded[feature.name] = codec.moments(timestamps_us, table.num_rows, _zones(codec.feature, table))
            elif feature.column in table.column_names:
                encoded[feature.name] = codec.column(table.column(feature.column))
            else:
                encoded[feature.name] = np.repeat(codec.values([None]), table.num_rows, axis=0)
        return encoded

    def encode_rows(
        self, tower: Tower, rows: Sequence[Mapping[str, Any]], timestamps_us: NDArray[np.int64] | None = None
    ) -> Encoded:
        """Encode raw values as a request gives them: exactly what `encode_table` gives for a table of the same values.

        Args:
            tower: Whose features.
            rows: n mappings of feature name to raw value; what is absent or None is missing. Other keys are ignored.
            timestamps_us: int64 [n].

        Raises:
            RequestError: A value has the wrong type or length.
        """
        encoded: Encoded = {}
        for name in self._names[tower]:
            codec = self._codecs[name]
            if isinstance(codec, TimeCodec):
                encoded[name] = codec.moments(timestamps_us, len(rows), _zones_given(codec.feature, rows))
            else:
                encoded[name] = codec.values([row.get(name) for row in rows])
        return encoded

    def to_json(self) -> str:
        """The declaration and the vocabularies as JSON."""
        content = {"spec": self.spec.model_dump(mode="json"), "vocabularies": self.vocabularies}
        return json.dumps(content, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Encoder:
        """Read what `to_json` wrote.

        Raises:
            IntegrityError: It is something else.
        """
        try:
            content = json.loads(text)
            return cls(FeatureSpec.model_validate(content["spec"]), content["vocabularies"])
        except (ValueError, KeyError, TypeError, DataError) as error:
            raise IntegrityError(f"not an encoder: {error}") from error

    def _features(self, tower: Tower, source: Source | None) -> list[Feature]:
        return [feature for feature in self.spec.of(tower) if source in (None, _source(feature))]


def _source(feature: Feature) -> Source:
    return "context" if feature.kind in COMPUTED else feature.source


def _zones(feature: TimeOf, table: pa.Table) -> pa.Array | None:
    """The zone of each row, string [n]; None where no row says one."""
    if feature.zone_feature is None or feature.zone_feature not in table.column_names:
        return None
    return table.column(feature.zone_feature).cast(pa.string()).combine_chunks()


def _zones_given(feature: TimeOf, rows: Sequence[Mapping[str, Any]]) -> pa.Array | None:
    """The same of raw values."""
    if (name := feature.zone_feature) is None:
        return None
    given = (row.get(name) for row in rows)
    return pa.array([None if value is None else word(value, name) for value in given], pa.string())


def _codec(feature: Feature, vocabulary: Vocabulary, spec: FeatureSpec) -> Codec | TimeCodec:
    match feature:
        case Categorical():
            return CategoricalCodec(feature, vocabulary)
        case MultiValued():
            return MultiValuedCodec(feature, vocabulary)
        case Text() | PastText():
            return TextCodec(feature)
        case Numeric():
            return NumericCodec(feature)
        case Dense():
            return DenseCodec(feature)
        case TimeOf():
            homes = (one for one in spec.features if isinstance(one, Categorical))
            zones = (home.default for home in homes if home.name == feature.zone_feature)
            return TimeCodec(feature, next(zones, ""))
