"""Offline gates: what a candidate must show before any user meets it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pagoda.evaluation.bootstrap import interval, resample
from pagoda.rollout.policy import OfflineGates
from pagoda.rollout.results import GateResult, Verdict

INTEGRITY = frozenset({"preflight", "parts", "ann_recall", "item_count", "vectors", "checksums"})
"""Gates that say whether the parts are whole and have a place to run. No operator can overrule them."""


@dataclass(frozen=True)
class VectorReport:
    """What the item vectors look like."""

    rows: int
    not_finite: int
    """Rows with NaN or infinity."""
    norm_error: float
    """Largest distance of a finite row's length from one."""
    spread: float
    """1 - |mean|², the variance of unit vectors around their mean: 1 when they point everywhere, 0 when all alike."""


@dataclass(frozen=True)
class RecallRows:
    """Recall of candidate and champion on the same rows."""

    users: npt.NDArray[np.int64]
    """[rows]"""
    candidate: npt.NDArray[np.floating]
    """[rows] 1 where the target was among the first k, else 0 (or any per-row measure where more is better)."""
    champion: npt.NDArray[np.floating]
    """[rows]"""


@dataclass(frozen=True)
class OfflineEvidence:
    """What was measured of a candidate before its rollout."""

    ann_recall: float
    items: int
    """Rows in the collection."""
    expected_items: int
    """By the manifest."""
    vectors: VectorReport
    recall: RecallRows | None = None
    """None when there is no champion."""
    checksums: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By part: what the manifest says, and what was found."""


def inspect_vectors(blocks: Iterable[npt.NDArray[np.float32]]) -> VectorReport:
    """Look at float32 [n, dim] blocks of item vectors, one at a time."""
    rows, not_finite, worst = 0, 0, 0.0
    total: npt.NDArray[np.float64] | float = 0.0
    for block in blocks:
        finite = np.isfinite(block).all(axis=1)
        rows += len(block)
        not_finite += int((~finite).sum())
        good = block[finite].astype(np.float64)
        if len(good):
            worst = max(worst, float(np.abs(np.linalg.norm(good, axis=1) - 1).max()))
            total = total + good.sum(axis=0)
    mean = np.atleast_1d(total) / max(rows - not_finite, 1)
    return VectorReport(rows, not_finite, worst, max(0.0, 1 - float(mean @ mean)))


def judge_offline(policy: OfflineGates, evidence: OfflineEvidence) -> list[GateResult]:
    """Every offline gate."""
    results = [_ann(policy, evidence), _items(evidence), _vectors(policy, evidence.vectors), _sums(evidence.checksums)]
    if evidence.recall is not None:
        results.append(_recall(policy, evidence.recall))
    return results


def _recall(policy: OfflineGates, rows: RecallRows) -> GateResult:
    """The change of mean recall relative to the champion, with a paired bootstrap over users."""
    if len(rows.users) < policy.minimum_rows:
        detail = f"{len(rows.users)} rows were evaluated, {policy.minimum_rows} are needed"
        return GateResult(gate="recall", verdict=Verdict.HELD, detail=detail)
    both = resample(np.column_stack([rows.candidate, rows.champion]), rows.users)
    value = _relative(both.means[None, :])[0]
    low, high = interval(_relative(both.samples), 1 - 2 * policy.recall_alpha)
    if low >= -policy.recall_tolerance:
        verdict = Verdict.PASSED
    else:  # As long as neither is shown, more rows may show one; that is no pass.
        verdict = Verdict.FAILED if high < -policy.recall_tolerance else Verdict.HELD
    return GateResult(
        gate="recall",
        verdict=verdict,
        detail=f"recall {both.means[0]:.4f} against the champion's {both.means[1]:.4f} on {len(rows.users)} rows: "
        f"{value:+.1%} [{low:+.1%}, {high:+.1%}]; a loss of {policy.recall_tolerance:.0%} must be ruled out",
        value=value,
        low=low,
        high=high,
        limit=-policy.recall_tolerance,
    )


def _relative(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    candidate, champion = means[:, 0], means[:, 1]
    # A champion that finds nothing cannot be lost against.
    return np.where(champion > 0, candidate / np.where(champion > 0, champion, 1) - 1, 0.0)


def _ann(policy: OfflineGates, evidence: OfflineEvidence) -> GateResult:
    return _at_least("ann_recall", evidence.ann_recall, policy.ann_recall, "recall of the approximate search")


def _items(evidence: OfflineEvidence) -> GateResult:
    equal = evidence.items == evidence.expected_items
    return GateResult(
        gate="item_count",
        verdict=Verdict.PASSED if equal else Verdict.FAILED,
        detail=f"{evidence.items} items in the collection, {evidence.expected_items} in the manifest",
        value=evidence.items,
        limit=evidence.expected_items,
    )


def _vectors(policy: OfflineGates, report: VectorReport) -> GateResult:
    problems = []
    if report.not_finite:
        problems.append(f"{report.not_finite} of {report.rows} vectors hold NaN or infinity")
    if report.norm_error > policy.norm_tolerance:
        problems.append(f"a vector's length differs from 1 by {report.norm_error:.3g}")
    if report.spread < policy.spread:
        problems.append(f"the vectors nearly all point one way (spread {report.spread:.3g})")
    return GateResult(
        gate="vectors",
        verdict=Verdict.FAILED if problems else Verdict.PASSED,
        detail="; ".join(problems) or f"{report.rows} vectors, finite, of length 1, spread {report.spread:.2f}",
        value=report.spread,
        limit=policy.spread,
    )


def _sums(checksums: Mapping[str, tuple[str, str]]) -> GateResult:
    wrong = [
        f"{part} is {found}, the manifest says {expected}"
        for part, (expected, found) in checksums.items()
        if found != expected
    ]
    return GateResult(
        gate="checksums",
        verdict=Verdict.FAILED if wrong else Verdict.PASSED,
        detail="; ".join(wrong) or f"{len(checksums)} parts are what the manifest says",
    )


def _at_least(gate: str, value: float, limit: float, what: str) -> GateResult:
    verdict = Verdict.PASSED if value >= limit else Verdict.FAILED
    return GateResult(
        gate=gate, verdict=verdict, detail=f"{what} is {value:.4f}, needs {limit:g}", value=value, limit=limit
    )
