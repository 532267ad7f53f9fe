"""Two views of items for self-supervision: what one view hides, the other mostly shows. Yao et al., CIKM 2021."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.config.self_supervision import SelfSupervisionConfig
from pagoda.model.encoder import Encoded, Encoder
from pagoda.model.features.codec import PADDING
from pagoda.training.batches.feature_relatedness import related

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Views:
    """2 n views: first one of each item, then the other of each."""

    items: Int64Array
    """int64 [2 n]: places in the catalogue."""
    hides_id: BoolArray
    """bool [2 n]."""
    features: Encoded
    """Of the item tower, 2 n rows."""


class Augmenter:
    """Draws items and makes their views."""

    def __init__(self, config: SelfSupervisionConfig, encoder: Encoder, encoded: Encoded, items: int) -> None:
        """Make one for a catalogue.

        Args:
            config: How.
            encoder: Knows the features, of which there is one at least.
            encoded: Features of the catalogue.
            items: Size of the catalogue.
        """
        self._fields = encoder.fields("item")
        self._config, self._encoded, self._items = config, encoded, items
        self._unknown = encoder.encode_rows("item", [{}])
        self._masks = self._drawer(items)

    def draw(self, rng: np.random.Generator) -> Views:
        """Views of the next items."""
        items = np.unique(rng.integers(self._items, size=self._config.items))
        hidden = np.concatenate(self._masks(len(items), rng))
        both = np.tile(items, 2)
        features = {
            field.name: self._view(field.name, both, hidden[:, place], rng)
            for place, field in enumerate(self._fields, 1)
        }
        return Views(both, hidden[:, 0], features)

    def _view(self, name: str, items: Int64Array, hidden: BoolArray, rng: np.random.Generator) -> NDArray[np.generic]:
        values = self._encoded[name][items]
        if self._bag(name):
            values[rng.random(values.shape, np.float32) < self._config.value_dropout] = PADDING
        values[hidden] = self._unknown[name]
        return values

    def _bag(self, name: str) -> bool:
        return any(field.name == name and field.form == "bag" for field in self._fields)

    def _drawer(self, items: int) -> Callable[[int, np.random.Generator], tuple[BoolArray, BoolArray]]:
        """What draws the masks bool [n, 1 + features] of both views; the ID's column is the first."""
        parts, config = 1 + len(self._fields), self._config
        match config.views:
            case "mask":
                return lambda n, rng: (rng.random((n, parts)) < config.mask, rng.random((n, parts)) < config.mask)
            case "complementary":
                return lambda n, rng: _halves(rng.random((n, parts)).argsort(1).argsort(1))
            case "correlated":
                nearest = np.argsort(np.argsort(-related(self._fields, self._encoded, items), 1, kind="stable"), 1)
                return lambda n, rng: _halves(nearest[rng.integers(parts, size=n)])


def _halves(order: Int64Array) -> tuple[BoolArray, BoolArray]:
    """Hide the first half of each row's order in one view, and the rest in the other."""
    first = order < max(order.shape[1] // 2, 1)
    return first, ~first
