"""Finished rows as the leaderboard's document: an array with a row for each set, split, model and seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.kept_run import KeptRun
from benchmarks.leaderboard.job import RowJob
from benchmarks.seeds import estimates


def document(found: Mapping[RowJob, KeptRun]) -> list[dict[str, Any]]:
    """`hr@10` … with the 95 % interval over users `hr@10_low` and `hr@10_high`, `coverage@10` and `tail@10`."""
    return [_row(job, run) for job, run in found.items()]


def _row(job: RowJob, run: KeptRun) -> dict[str, Any]:
    asked = run.asked["test"]
    row: dict[str, Any] = {"set": job.set_name, "split": job.split.name, "model": job.model, "seed": job.seed}
    row["users"] = len(asked.users)
    for name, estimate in estimates(asked).items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | run.facts
