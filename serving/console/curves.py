"""What the gates of a rollout measured over its life, as small drawings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pagoda.rollout.curves.reading import GateCurve, RolloutCurves

WIDTH, HEIGHT = 240, 60
_MARGIN = 4


def drawn_curves(curves: RolloutCurves) -> list[Mapping[str, Any]]:
    """Each gate that has figures: its first and last value, and the points of its lines, for SVG.

    The drawings are `WIDTH` by `HEIGHT` and have one time in common, so that they can be compared by eye. A stage
    measures anew, so no line leads from one to the next.
    """
    known = [curve for curve in curves.gates if not np.isnan(curve.value).all()]
    if not known:
        return []
    begin, end = min(curve.at[0] for curve in known), max(curve.at[-1] for curve in known)
    return [_drawn(curve, begin, end) for curve in known]


def _drawn(curve: GateCurve, begin: np.datetime64, end: np.datetime64) -> Mapping[str, Any]:
    figures = np.stack([curve.value, curve.low, curve.high, curve.limit])
    lowest, highest = np.nanmin(figures), np.nanmax(figures)
    span = max(float((end - begin).astype(float)), 1.0)
    across = _MARGIN + (WIDTH - 2 * _MARGIN) * (curve.at - begin).astype(float) / span
    down = HEIGHT - _MARGIN - (HEIGHT - 2 * _MARGIN) * (figures - lowest) / ((highest - lowest) or 1.0)
    told = curve.value[~np.isnan(curve.value)]
    return {
        "gate": curve.gate,
        "verdict": curve.verdict[-1].value,
        "first": float(told[0]),
        "last": float(told[-1]),
        "stages": list(_stages(curve.stage, across, down)),
    }


def _stages(
    names: Sequence[str], across: NDArray[np.float64], down: NDArray[np.float64]
) -> Iterator[Mapping[str, str | list[float]]]:
    for name in dict.fromkeys(names):
        rows = np.array([one == name for one in names])
        value, low, high, limit = (list(_points(across[rows], line[rows])) for line in down)
        band = [*low, *reversed(high)] if low and high else []
        yield {
            "name": name,
            "value": " ".join(value),
            "band": " ".join(band),
            "limit": " ".join(limit),
            "last": [float(text) for text in value[-1].split(",")] if value else [],
        }


def _points(across: NDArray[np.float64], down: NDArray[np.float64]) -> Iterator[str]:
    for x, y in zip(across, down, strict=True):
        if not np.isnan(y):
            yield f"{x:.1f},{y:.1f}"
