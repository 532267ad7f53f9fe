"""What exploration cost and brought, from counts, with intervals over users."""

from __future__ import annotations

import numpy as np

from pagoda.config.channels import CHANNEL_NAMES
from pagoda.data.dataset import Dataset
from pagoda.data.window import Window
from pagoda.errors import ConfigError, DataError
from pagoda.evaluation.bootstrap import interval, resample
from pagoda.evaluation.exploration.counting import (
    GROUPS,
    NEVER,
    PLACES,
    Float64Array,
    ItemCounts,
    ShownCounts,
    count_shown,
)
from pagoda.evaluation.exploration.report import ExplorationReport, ExploredItems, ExploredPlaces, ShownByChannel
from pagoda.evaluation.report import Estimate

_EXPLORED = 1


def exploration_report(dataset: Dataset, window: Window, *, clicks: int, seed: int = 0) -> ExplorationReport:
    """Say what exploration cost and brought in `window`.

    Args:
        dataset: Declares receipts, and has impressions.
        window: What to look at.
        clicks: Positives from which on an item is known.
        seed: Of the intervals.

    Raises:
        ConfigError: The dataset declares no receipts.
        DataError: Nothing in the window says that it was explored.
    """
    if not dataset.spec.receipts:
        raise ConfigError(
            f"{dataset.path}: features.yaml declares no receipts, so nobody knows what was explored; "
            "add `receipts: true` and hand receipts back with events (docs/events.md)"
        )
    shown, items = count_shown(dataset, window)
    if not shown.places[:, _EXPLORED, :, 0].any():
        raise DataError(
            f"{dataset.path}: no impression in {window.start.isoformat()}/{window.end.isoformat()} has a receipt that "
            "says it was explored; declare a channel of kind explore, and send impressions with their receipts"
        )
    return ExplorationReport(
        window=window, channels=_channels(shown, seed), places=_places(shown, seed), items=_items(items, clicks)
    )


def _channels(shown: ShownCounts, seed: int) -> dict[str, ShownByChannel]:
    counts = shown.channels.sum(axis=0).astype(np.int64)
    resampled = resample(shown.channels.reshape(GROUPS, -1), np.arange(GROUPS), seed=seed)
    rates = _estimates(_rates(resampled.means.reshape(-1, 2)), _rates(resampled.samples.reshape(-1, len(counts), 2)))
    return {
        name: ShownByChannel(shown=int(impressions), clicked=int(clicked), click_rate=rate)
        for name, (impressions, clicked), rate in zip(CHANNEL_NAMES, counts, rates, strict=True)
        if impressions or clicked
    }


def _places(shown: ShownCounts, seed: int) -> ExploredPlaces:
    cells = np.concatenate([shown.places.reshape(GROUPS, -1), shown.inverse], axis=1)
    resampled = resample(cells, np.arange(GROUPS), seed=seed)
    found = _estimates(_compared(resampled.means[None])[0], _compared(resampled.samples))
    return ExploredPlaces(**dict(zip(ExploredPlaces.model_fields, found, strict=True)))


def _compared(cells: Float64Array) -> Float64Array:
    """The figures of `ExploredPlaces` in their order, float64 [r, 6], from means over groups of users [r, cells].

    Others' items are weighed as explored places lie (direct standardisation, which is what weighting by the inverse of
    the propensity of a place is, where places are few): beside what was explored in a place stands the click rate of
    others in the same one or, where it was always explored, of those right above and below, which no two explored
    ones are.
    """
    places = cells[:, :-2].reshape(-1, 2, PLACES, 2)
    others, explored = places[:, 0], places[:, _EXPLORED]
    padded = np.pad(others, ((0, 0), (1, 1), (0, 0)))
    near = np.where(others[..., :1] > 0, others, padded[:, :-2] + padded[:, 2:])
    rates = _rates(near)
    explored = np.where(np.isfinite(rates)[..., None], explored, 0.0)  # Without others near it says nothing.
    number, clicked = explored.sum(axis=1).T
    would = np.nansum(explored[..., 0] * rates, axis=1)
    lost, had = would - clicked, places[..., 1].sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = [clicked / number, would / number, clicked / would, lost * GROUPS, lost / (had + lost)]
    return np.stack([*figures, _rates(cells[:, -2:])], axis=1)


def _rates(counts: Float64Array) -> Float64Array:
    """Positives by impressions of [..., 2]; NaN without an impression."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts[..., 0] > 0, counts[..., 1] / counts[..., 0], np.nan)


def _estimates(values: Float64Array, samples: Float64Array) -> list[Estimate]:
    """Of figures [n] with their resamples [r, n]."""
    intervals = [interval(column) for column in samples.T]
    return [Estimate(value=value, low=low, high=high) for value, (low, high) in zip(values, intervals, strict=True)]


def _items(items: ItemCounts, clicks: int) -> ExploredItems:
    explored = items.first_us < NEVER
    before, after = items.before >= clicks, items.before + items.within >= clicks
    since = explored & after & ~before
    return ExploredItems(
        explored=int(explored.sum()),
        clicks=clicks,
        known_before=int((explored & before).sum()),
        known_since=int(since.sum()),
        known_alone=int((since & (items.explored_clicks >= clicks)).sum()),
        clicks_later=int(items.later_clicks.sum()),
    )
