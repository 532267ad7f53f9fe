"""What a full update makes of items without an ID row, where the configuration says it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pagoda.config.cold import ColdConfig
from pagoda.embeddings.category_means import CategoryMeans
from pagoda.model.encoder import Encoded, Encoder
from pagoda.model.features.codec import PADDING
from pagoda.training.batches.lent_rows import Lender
from pagoda.training.examples.survey import Survey
from pagoda.training.tables import OOV, TrainableTable

Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class ColdItems:
    """The categories of the catalogue's items, by which some have rows that stand for others'."""

    by: str
    """The feature that says the category."""
    catalogue: Int64Array
    """int64 [i], ascending: IDs."""
    categories: Int64Array
    """int64 [i] or [i, width], as the encoder gives them."""
    weights: NDArray[np.float64]
    """float64 [i]: what each counts among the items of its category that have a row."""
    size: int
    """How many categories there are, the unknown one included."""

    def lender(self, places: Int64Array) -> Lender:
        """Draws rows in training; `places` int64 [i] are the items' in their table."""
        return Lender(places, self.categories, self.weights)

    def means(self, table: TrainableTable) -> CategoryMeans:
        """What stands for items without a row, by the table as it is now; it lies in main memory."""
        place = np.searchsorted(self.catalogue, table.ids)
        place = np.minimum(place, len(self.catalogue) - 1)
        gone = self.catalogue[place] != table.ids
        categories = self.categories[place]
        categories[gone] = PADDING
        rows = table.rows.numpy()
        return CategoryMeans.of(
            self.by, categories, rows[OOV + 1 :], self.weights[place], oov=rows[OOV], size=self.size
        )


def cold_items(config: ColdConfig | None, encoder: Encoder, found: Survey, features: Encoded) -> ColdItems | None:
    """The categories of a catalogue whose encoded `features` those are; None where nothing is declared."""
    if config is None or config.items is None:
        return None
    size = next(field.size for field in encoder.fields("item") if field.name == config.by)
    # An item of an earlier window counts, too, though nobody chose it in this one.
    weights = found.clicks.astype(np.float64) + 1
    return ColdItems(config.by, found.catalogue, features[config.by], weights, size)
