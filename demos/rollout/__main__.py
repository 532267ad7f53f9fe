"""`make demo-rollout`: five candidates and 200 simulated rollouts of candidates that are no worse."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import orjson
import torch
import typer
from rich.console import Console
from rich.table import Table

from demos import showing
from demos.rollout.plotting import plot
from demos.rollout.scenarios import REQUESTS, SCENARIOS, ScenarioResult, act
from demos.rollout.stage import staged, wait_ready
from demos.stages import Stages
from pagoda.errors import GateError
from pagoda.rollout.gates.power import FalsePositives, simulate_aa
from pagoda.rollout.policy import FULL
from serving import process

AA_RUNS, AA_MOST = 200, 0.05
AT_RISK_SECONDS = 30.0
"""Longest time from a tower's breakdown to the rollback."""
FIRST_HOURS = 12.0
"""The first full version learns up to half a day before the world's end."""


def run(folder: Path, console: Console, names: Sequence[str]) -> tuple[list[ScenarioResult], dict[str, float]]:
    """All scenarios, one after the other, on one platform."""
    stages, results = Stages(console), []

    def say(line: str) -> None:
        console.print(f"  {line}", highlight=False, markup=False)

    with ExitStack() as running:
        with stages.stage("a world, and the embedded platform"):
            stage = running.enter_context(staged(folder, showing.starting(console)))
        with stages.stage("the first generation, released at once"):
            say(f"{stage.learn(FIRST_HOURS).id} answers")
            wait_ready(stage)
        for number, scenario in enumerate(SCENARIOS):
            if scenario.name in names:
                with stages.stage(scenario.name):
                    results.append(act(stage, scenario, number, say))
                    _verdict(results[-1], console)
                _write(folder, results, stages.seconds)
    return results, stages.seconds


def _verdict(result: ScenarioResult, console: Console) -> None:
    found = result.as_json()
    console.print(
        f"  {found['requests']:,} requests, {found['failed_requests']} failed; {found['answers_checked']:,} answers "
        f"checked, {found['mixed_answers']} mixed ({found['answers_that_would_tell']:,} would tell), "
        f"{found['degraded_answers']} degraded; p99 {found['latency_ms']['p99']:.0f} ms",
        highlight=False,
    )


def _table(results: Sequence[ScenarioResult]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("candidate", "outcome", "decided", "at risk", "requests", "failed", "mixed", "by"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("candidate", "outcome", "by") else "right")
    for result in results:
        found = result.as_json()
        risk = found["seconds_at_risk"]
        table.add_row(
            result.scenario.name,
            found["outcome"].replace("_", " "),
            f"{found['seconds_to_decision']:.0f} s",
            "" if risk is None else f"{risk:.0f} s",
            f"{found['requests']:,}",
            str(found["failed_requests"]),
            str(found["mixed_answers"]),
            result.gate,
        )
    return table


def _write(
    folder: Path, results: Sequence[ScenarioResult], seconds: dict[str, float], aa: dict[str, Any] | None = None
) -> None:
    """Write what there is so far: the report and the picture."""
    report = {
        "scenarios": {result.scenario.name: result.as_json() for result in results},
        "aa": aa,
        "seconds": seconds,
        "plots": ["rollouts.png"],
    }
    (folder / "report.json").write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    plot(results, folder / "rollouts.png")


def _check(results: Sequence[ScenarioResult], aa: FalsePositives) -> None:
    """Raise if anything is not as it must be."""
    for result in results:
        if wrong := list(_wrong(result)):
            raise GateError(f"{result.scenario.name}: {'; '.join(wrong)}")
    if aa.rolled_back > AA_MOST * aa.runs:
        raise GateError(f"A/A: {aa.rolled_back} of {aa.runs} rollouts of equals rolled back, at most {AA_MOST:.0%} may")


def _wrong(result: ScenarioResult) -> Iterator[str]:
    scenario, found = result.scenario, result.as_json()
    if result.outcome != scenario.expected or result.gate not in scenario.gates:
        yield f"{result.outcome} by {result.gate}, expected {scenario.expected} by {' or '.join(scenario.gates)}"
    if found["failed_requests"] or found["mixed_answers"]:
        yield f"{found['failed_requests']} requests failed, {found['mixed_answers']} answers mixed"
    if found["requests"] < REQUESTS:
        yield f"{found['requests']} requests, fewer than {REQUESTS:,}"
    risk = result.seconds_at_risk
    if scenario.sudden and (result.broke is None or risk is None):
        yield "its tower never broke down under users"
    if scenario.sudden and risk is not None and risk > AT_RISK_SECONDS:
        yield f"rolled back {risk:.0f} s after it broke down, later than {AT_RISK_SECONDS:.0f} s"


def main(
    folder: Annotated[Path, typer.Option(help="Made anew at each run.")] = Path("build/demo-rollout"),
    only: Annotated[list[str] | None, typer.Option(help="Scenarios to play. Default: all.")] = None,
    aa_runs: Annotated[int, typer.Option(help="Simulated rollouts of candidates that are no worse.")] = AA_RUNS,
) -> None:
    """Show how candidates are promoted and rolled back."""
    process.end_as_by_ctrl_c()
    torch.set_num_threads(1)
    console = Console()
    shutil.rmtree(folder, ignore_errors=True)
    results, seconds = run(folder.resolve(), console, only or [scenario.name for scenario in SCENARIOS])
    began = time.perf_counter()
    false = simulate_aa(FULL, aa_runs)
    seconds["simulated A/A rollouts"] = round(time.perf_counter() - began, 2)
    aa = {"runs": false.runs, "rolled_back": int(false.rolled_back)}
    _write(folder, results, seconds, aa)
    console.print(_table(results))
    console.print(f"A/A: {false.rolled_back} of {false.runs} simulated rollouts of equals rolled back", highlight=False)
    console.print(f"{folder / 'report.json'}, {folder / 'rollouts.png'}", highlight=False, markup=False, soft_wrap=True)
    _check(results, false)


if __name__ == "__main__":
    process.run(main)
