"""What came of incremental updates, for people and for scripts."""

from __future__ import annotations

from pagoda.updates.incremental import Nothing
from pagoda.updates.incremental_steps import Done


def in_words(base: int, outcome: Done | Nothing) -> str:
    """One line."""
    if isinstance(outcome, Nothing):
        return f"Full version {base}: nothing to learn: {outcome.reason}."
    metrics, record = outcome.record.metrics, outcome.record
    late = f", {metrics['late']:,.0f} too late" if metrics["late"] else ""
    served = f"answers after {outcome.seconds_to_serve:.1f} s" if outcome.served else outcome.waits
    return (
        f"{outcome.manifest.id}: {metrics['positives']:,.0f} positives of {record.window.key} "
        f"in {record.rows or 0:,} rows{late}; {served}."
    )


def as_json(base: int, outcome: Done | Nothing) -> dict[str, object]:
    """The same as plain values."""
    if isinstance(outcome, Nothing):
        return {"base": base, "version": None, "reason": outcome.reason}
    record = outcome.record
    return {
        "base": base,
        "version": record.version,
        "generation": outcome.manifest.id,
        "window": record.window.key,
        "rows": record.rows,
        "metrics": record.metrics,
        "served": outcome.served,
        "seconds_to_serve": outcome.seconds_to_serve,
    }
