"""The channel `explore`: new items, chosen by chance, with the probability that they were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from pagoda.channels.base import Allowed, ChannelTable, Float32Array, Int64Array, Known, Ranked, TableSource
from pagoda.channels.fresh import newest_items
from pagoda.channels.item_lists import best, first_allowed
from pagoda.channels.positives import count_by_item
from pagoda.config.channels import Explore
from pagoda.data.spec import IMPRESSION, FeatureSpec
from pagoda.embeddings.array_files import open_array, save_array
from pagoda.errors import IntegrityError

_IDS, _COUNTS, _ABOUT = "ids.npy", "counts.npy", "explore.json"
_REDRAWS, _DRAWS = 4, 256  # As many draws of an item as a byte has values.
_REDRAWN = np.arange(_REDRAWS + 1)[:, None]
_CHANCE = np.frombuffer(Random(0).randbytes(1 << 16), np.uint8)  # noqa: S311 - no secret
"""Of which an answer takes as many in a row as it has items, from where its seed says."""
Float64Array = NDArray[np.float64]


class Believed(NamedTuple):
    """What is believed of items' click rates: Beta distributions."""

    alpha: Float64Array
    """[m]"""
    beta: Float64Array
    """[m]"""


class Explored(NamedTuple):
    """What chance chose."""

    numbers: Int64Array
    """Which of those that it was chosen from, int64 [n], the best draw first."""
    propensities: Float64Array
    """Of each, the probability that it was to be among the chosen, (0, 1], float64 [n]."""


class Lot(NamedTuple):
    """What one answer chooses from, by chance."""

    places: Int64Array
    """Of items among all that have draws, int64 [m]."""
    budget: float
    """Places in the mean."""
    seed: int
    """64 bits, all of them random; the same chooses the same."""

    @property
    def number(self) -> int:
        """Of places that it has."""
        return int(self.budget) + int((self.seed & 0xFFFF_FFFF) / (1 << 32) < self.budget % 1)


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


class ExploreTable(ChannelTable):
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
    """Draws of each item's click rate, which answers choose among until more is known of them: float32 [f, 260].

    To draw afresh for each answer takes longer for 200 items than all else that a choice does. So an item has a ring of
    256 draws, the first four once more at its end, and an answer takes 5 that follow one another from where chance has
    it begin. Each item begins elsewhere, so its j-th draw meets any of another's.
    """
    rng = np.random.default_rng(seed)
    ring = rng.beta(believed.alpha, believed.beta, (_DRAWS, len(believed.alpha))).astype(np.float32)
    return np.concatenate([ring, ring[:_REDRAWS]]).T.copy()


def explored(draws: Float32Array, choices: Sequence[Lot], declared: Explore) -> list[Explored]:
    """Choose items for a part of the places of each of some answers.

    Of the budget b there are ⌊b⌋ places, and one more with the probability of the rest; with m items, m at most.
    `epsilon` chooses uniformly, so that a propensity is exactly the mean number of places over m. `thompson` takes the
    highest of one draw each (Chapelle & Li, NIPS 2011, algorithm 2); its propensities are the mean of 5 such choices,
    that which answers among them, of the chance that an item has against what the others drew there (Rao-Blackwell: the
    mean of what is known of a yes or no varies less than theirs). None is 0.

    Args:
        draws: Of all items, as `draws_of` gives them.
        choices: What to choose from; alike ones are computed together.
        declared: The section.
    """
    if declared.method == "epsilon":
        return [_by_lot(one) for one in choices]
    found, alike = dict[int, Explored](), defaultdict[tuple[int, int, float], list[int]](list)
    for place, one in enumerate(choices):
        alike[len(one.places), one.number, one.budget].append(place)
    for (_, number, budget), those in alike.items():
        found |= zip(those, _by_draws(draws, [choices[place] for place in those], number, budget), strict=True)
    return [found[place] for place in range(len(choices))]


def _by_lot(choice: Lot) -> Explored:
    items, whole, rest = len(choice.places), int(choice.budget), choice.budget % 1
    numbers = Random(choice.seed).sample(range(items), min(choice.number, items))  # noqa: S311 - no secret
    mean = (1 - rest) * min(whole, items) + rest * min(whole + 1, items)
    return Explored(np.array(numbers, np.int64), np.full(len(numbers), min(mean / max(items, 1), 1)))


def _by_draws(draws: Float32Array, choices: Sequence[Lot], number: int, budget: float) -> list[Explored]:
    """Of choices among equally many items, with one budget, of which it gave each the same number of places."""
    places = np.array([one.places for one in choices])
    items = places.shape[1]
    # A generator of its own takes as long as all that is done with them.
    froms = [(one.seed >> 32) % (len(_CHANCE) - items) for one in choices]
    first = places * draws.shape[1] + np.array([_CHANCE[begin : begin + items] for begin in froms])
    drawn = draws.take(first[:, None] + _REDRAWN)
    chosen = drawn[:, 0].argsort(axis=1)[:, : -number - 1 : -1]
    rings = draws[np.take_along_axis(places, chosen, 1), :_DRAWS]
    whole, rest = int(budget), budget % 1
    propensities = (1 - rest) * _chances(drawn, chosen, rings, whole)
    if rest:
        propensities += rest * _chances(drawn, chosen, rings, whole + 1)
    return list(map(Explored, chosen, np.minimum(propensities, 1)))


def _chances(drawn: Float32Array, chosen: Int64Array, rings: Float32Array, number: int) -> Float64Array:
    """Of the `chosen` [n, c] of m items, with all their draws [n, c, 256], the chance to be among the `number` best.

    It is the share of draws that are no less than the `number`-th best of the others': a mean over rows of `drawn`
    [n, r, m], float64 [n, c].
    """
    items = drawn.shape[2]
    if not (0 < number < items and chosen.size):
        return np.full(chosen.shape, float(number > 0))
    halves = np.partition(drawn, items - number, axis=2)
    last, beyond = halves[:, :, items - number, None], halves[:, :, : items - number].max(axis=2, keepdims=True)
    others = np.where(np.take_along_axis(drawn, chosen[:, None], 2) >= last, beyond, last)
    below = (rings[:, :, None] < others.transpose(0, 2, 1)[..., None]).reshape(*chosen.shape, -1)
    # Two bytes hold as many as there are draws; the mean of NumPy's takes three times as long.
    chances: Float64Array = 1 - np.add.reduce(below, axis=2, dtype=np.uint16) / below.shape[2]
    return chances


def _read_about(path: Path) -> _About:
    try:
        about = orjson.loads(path.read_bytes())
        return _About(int(about["items"]), float(about["rate"]), int(about["window_end_us"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: missing or damaged ({error})") from error
