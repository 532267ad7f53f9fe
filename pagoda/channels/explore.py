"""The channel `explore`: new items, chosen by chance, with the probability that they were."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from pagoda.channels.base import Allowed, BoolArray, Float32Array, Int64Array, Known, Ranked, TableSource
from pagoda.channels.fresh import newest_items
from pagoda.channels.item_lists import best, first_allowed
from pagoda.channels.positives import count_by_item
from pagoda.config.channels import Explore
from pagoda.data.spec import IMPRESSION, FeatureSpec
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.errors import IntegrityError

_IDS, _COUNTS, _ABOUT = "ids.npy", "counts.npy", "explore.json"
_REDRAWS, _DRAWS = 64, 256
Float64Array = NDArray[np.float64]


class Believed(NamedTuple):
    """What is believed of items' click rates: Beta distributions."""

    alpha: Float64Array
    """[m]"""
    beta: Float64Array
    """[m]"""


class Explored(NamedTuple):
    """What chance chose."""

    places: Int64Array
    """Of what it was chosen from, int64 [n], the best draw first."""
    propensities: Float64Array
    """Of each, the probability that it was to be among the chosen, (0, 1], float64 [n]."""


class _About(NamedTuple):
    items: int
    rate: float
    """The catalogue's click rate, in (0, 1)."""
    window_end_us: int
    """In microseconds since 1970, UTC."""


class ExploreKind:
    """Writes and opens the tables of `explore`."""

    def refuse(self, declared: Explore, spec: FeatureSpec) -> None:
        """See `ChannelKind.refuse`: any data has items that came last."""

    def write(self, folder: Path, declared: Explore, source: TableSource) -> None:
        """See `ChannelKind.write`; like that of `fresh`, it reads all interactions that there are."""
        clicks = count_by_item(source, declared.days)
        impressions = count_by_item(source, declared.days, [IMPRESSION])
        newest = newest_items(source, declared.days, declared.kept)
        chosen = newest[clicks[newest] < declared.clicks]
        save_array(folder / _IDS, source.items[chosen], np.int64)
        save_array(folder / _COUNTS, np.stack([impressions[chosen], clicks[chosen]]), np.int64)
        rate = click_rate(int(impressions.sum()), int(clicks.sum()))
        about = _About(len(chosen), rate, source.window.end_us)
        (folder / _ABOUT).write_bytes(orjson.dumps(about._asdict()))

    def open(self, folder: Path, declared: Explore) -> ExploreTable:
        """See `ChannelKind.open`."""
        about = _read_about(folder / _ABOUT)
        ids = open_array(folder / _IDS, np.int64, (about.items,))
        return ExploreTable(ids, open_array(folder / _COUNTS, np.int64, (2, about.items)), about, declared)


class ExploreTable:
    """The new items of one version, and what was known of them when its window ended."""

    def __init__(self, ids: Int64Array, counts: Int64Array, about: _About, declared: Explore) -> None:
        """Hold items, int64 [f], ascending, and their impressions and positives at the window's end, int64 [2, f]."""
        self.items, self.counts, self.declared = ids, counts, declared
        self.window_end_us, self._rate = about.window_end_us, about.rate

    def candidates(self, known: Known, allowed: Allowed, k: int) -> Ranked:
        """See `ChannelTable.candidates`: without chance, by the click rates expected at the window's end."""
        alpha, beta = self.believed(self.counts)
        return first_allowed(best(self.items, alpha / (alpha + beta), len(self.items)), allowed, k)

    def believed(self, counts: Int64Array) -> Believed:
        """Beta(κp + c, κ(1 - p) + n - c) of items by n impressions and c positives, int64 [2, m].

        p is the catalogue's click rate.
        """
        (impressions, clicks), kappa = counts.astype(np.float64), self.declared.prior
        return Believed(kappa * self._rate + clicks, kappa * (1 - self._rate) + np.maximum(impressions - clicks, 0))


def click_rate(impressions: int, clicks: int) -> float:
    """Of a catalogue, strictly between 0 and 1; a half where a log holds no impressions to speak of."""
    return (clicks + 1) / (impressions + 2) if impressions > clicks else 0.5


def draws_of(believed: Believed, seed: int) -> Float32Array:
    """Draws of each item's click rate, float32 [256, f]: what answers choose among until more is known of the items.

    To draw afresh for each answer takes longer for 200 items than all else that a choice does.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.beta(believed.alpha, believed.beta, (_DRAWS, len(believed.alpha)))
    return drawn.astype(np.float32, order="F")  # An answer asks of few items, and of each for many.


def explored(draws: Float32Array, places: Int64Array, budget: float, declared: Explore, seed: int) -> Explored:
    """Choose items for a part of the places of one answer.

    Of the budget b there are ⌊b⌋ places, and one more with the probability of the rest; with m items, m at most.
    `epsilon` chooses uniformly, so that a propensity is exactly the mean number of places over m. `thompson` takes the
    highest of one draw each (Chapelle & Li, NIPS 2011, algorithm 2); its propensities are the share of 65 such choices
    in which an item is, that which answers among them: none is 0, and what is hardly ever chosen is overestimated.

    Args:
        draws: Of all items, as `draws_of` gives them.
        places: Of those to choose from, int64 [m].
        budget: Places in the mean, b.
        declared: The section.
        seed: The same chooses the same.
    """
    rng, items = np.random.default_rng(seed), len(places)
    whole, rest = int(budget), budget % 1
    number = whole + int(rng.random() < rest)
    if declared.method == "epsilon":
        chosen = rng.permutation(items)[:number]
        mean = (1 - rest) * min(whole, items) + rest * min(whole + 1, items)
        return Explored(places[chosen], np.full(len(chosen), min(mean / max(items, 1), 1)))
    rows = rng.integers(0, _DRAWS, (_REDRAWS + 1, items), np.uint8)
    drawn = draws.T.reshape(-1).take(places * _DRAWS + rows)  # Of `draws[rows, places]`, half the time.
    chosen, ascending = np.argsort(-drawn[0], kind="stable")[:number], np.sort(drawn, axis=1)
    theirs = drawn[:, chosen]
    fewer, more = (_among_best(theirs, ascending, count).sum(0) / len(drawn) for count in (whole, whole + 1))
    return Explored(places[chosen], np.minimum((1 - rest) * fewer + rest * more, 1))


def _among_best(draws: Float32Array, ascending: Float32Array, number: int) -> BoolArray:
    """Which of each row [r, c] are among the `number` highest of the same row of `ascending` [r, m], bool [r, c]."""
    items = ascending.shape[1]
    if not 0 < number < items:
        return np.full(draws.shape, number > 0)
    among: BoolArray = draws >= ascending[:, items - number, None]
    return among


def _read_about(path: Path) -> _About:
    try:
        about = orjson.loads(path.read_bytes())
        return _About(int(about["items"]), float(about["rate"]), int(about["window_end_us"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
