"""Offline gates: what a candidate must show before any user meets it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pagoda.evaluation.bootstrap import interval, resample
from pagoda.rollout.gate_results import GateResult, Verdict
from pagoda.rollout.measures.offline_evidence import OfflineEvidence, RecallRows, VectorReport
from pagoda.rollout.policy import OfflineGates

INTEGRITY = frozenset({"preflight", "parts", "ann_recall", "item_count", "vectors", "checksums"})
"""Gates that say whether the parts are whole and have a place to run. No operator can overrule them."""


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
    if report.norm_error is not None and report.norm_error > policy.norm_tolerance:
        problems.append(f"a vector's length differs from 1 by {report.norm_error:.3g}")
    if report.spread < policy.spread:
        problems.append(f"the vectors nearly all point one way (spread {report.spread:.3g})")
    lengths = "of any length" if report.norm_error is None else "of length 1"
    return GateResult(
        gate="vectors",
        verdict=Verdict.FAILED if problems else Verdict.PASSED,
        detail="; ".join(problems) or f"{report.rows} vectors, finite, {lengths}, spread {report.spread:.2f}",
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
