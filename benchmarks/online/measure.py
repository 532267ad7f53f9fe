"""How long answers take, how many a second there can be, and what they cost in processor time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any

import orjson
import psutil

from benchmarks.online.world import NOW_US
from pagoda.load_test.outcomes import ANSWERED, OK, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.report import LoadReport, report_of
from pagoda.load_test.sending import send

CONNECTIONS = (1, 8, 32)
LIMIT_MS = 50.0
_OPEN_CONNECTIONS = 256
_STEPS, _RUNS = 6, 3
_LOWEST, _HIGHEST = 0.1, 1.2
"""Rates tried, as shares of what 32 connections got out."""
_WATCHED_SECONDS, _WATCHES, _RESTING, _QUIET = 5.0, 120, 0.1, 4
"""How long a process is watched for whether it rests, how often at most, the share of a core that is rest, and for how
many looks in a row."""


@dataclass(frozen=True)
class MeasuredService:
    """A service to send requests to, and the processes that work for it."""

    url: str
    users: int
    processes: Mapping[str, psutil.Process]
    seconds: float = 4.0
    """Of each measurement."""
    token: str = ""
    """Of the role `ask`; a service that wants none gets it, too, so that all read the same request."""

    def plan(self, rate: float, seconds: float, seed: int) -> LoadPlan:
        """Requests of the benchmark: 100 items for users by Zipf."""
        return LoadPlan(range(self.users), rate, seconds, fields=(("timestamp", NOW_US),), seed=seed)

    def load(self, rate: float, connections: int, seed: int = 0, seconds: float | None = None) -> LoadReport:
        """One run."""
        plan = self.plan(rate, seconds or self.seconds, seed)
        return report_of(plan, send(plan, self.url, connections=connections, token=self.token), self.url, connections)

    def one_at_a_time(self, seed: int) -> dict[str, float]:
        """Latency of one connection, in milliseconds by quantile, and the median of each stage that answers name."""
        plan, outcomes = self.plan(0, self.seconds, seed), _Timed()
        report = report_of(plan, send(plan, self.url, connections=1, outcomes=outcomes, token=self.token), self.url, 1)
        require_answers(report)
        stages = {name: median(timing[name] for timing in outcomes.timings) for name in outcomes.timings[0]}
        return {**report.latency_ms, **{f"stage_{name}": milliseconds for name, milliseconds in stages.items()}}


@dataclass
class _Timed(Outcomes):
    """Also takes down what answers say of where their time went."""

    timings: list[dict[str, float]] = field(default_factory=list)

    def read(self, status: int, content: bytes) -> tuple[str, bool]:
        """See `Outcomes.read`."""
        if status == OK:
            self.timings.append(orjson.loads(content)["predictions"][0].get("timing_ms", {}))
        return super().read(status, content)


@dataclass
class Cpu:
    """Processor time between two moments, in seconds by process."""

    used: dict[str, float] = field(default_factory=dict)


@contextmanager
def cpu(processes: Mapping[str, psutil.Process]) -> Iterator[Cpu]:
    """Measure what `processes` use until the block ends.

    All their children count; but for this process, which has started everything.
    """
    before = {name: _seconds(process) for name, process in processes.items()}
    found = Cpu()
    yield found
    found.used = {name: _seconds(process) - before[name] for name, process in processes.items()}


def rest(process: psutil.Process) -> float:
    """Wait, ten minutes at most, until a process does next to nothing: Milvus may go on to compact what was inserted.

    Returns:
        The share of a core that it used at the end.
    """
    quiet = 0
    for _ in range(_WATCHES):
        share = process.cpu_percent(_WATCHED_SECONDS) / 100
        quiet = quiet + 1 if share < _RESTING else 0
        if quiet == _QUIET:
            break
    return share


def _seconds(process: psutil.Process) -> float:
    family = [process] if process.pid == os.getpid() else [process, *process.children(recursive=True)]
    return sum(times.user + times.system for times in (member.cpu_times() for member in family))


def measure(target: MeasuredService) -> dict[str, Any]:
    """Latency by connections, and processor time of every process a request."""
    target.load(0, 4, seed=99, seconds=1.0)
    found: dict[str, Any] = {"p50": {}, "p95": {}, "p99": {}}
    degraded = 0
    for connections in CONNECTIONS:
        report, by_process = _with_cpu(target, 0, connections, seed=connections)
        require_answers(report)
        degraded += report.degraded
        for name in ("p50", "p95", "p99"):
            found[name][str(connections)] = round(report.latency_ms[name], 2)
    found["degraded"] = degraded
    found["rps_32_connections"] = report.answered_rps
    found["cpu_ms_per_request"] = round(sum(by_process.values()) - by_process["load"], 3)
    found["cpu_ms_by_process"] = by_process
    return found


def highest_rates(targets: Mapping[str, MeasuredService]) -> dict[str, dict[str, Any]]:
    """The highest rates of Poisson arrivals at which p99 stays within the limit and every request is answered.

    By the median of three runs at each rate, which lie among the other services' runs: so neither a slow half minute of
    the machine nor a quick one decides by itself, and all services meet the same minutes.

    Returns:
        By service the rate, and the processor time of a request at it: calls are joined, so it falls as the rate grows.
    """
    searches = {name: _Search.of(target) for name, target in targets.items()}
    for step in range(_STEPS):
        for turn in range(_RUNS):
            for search in searches.values():
                search.run(seed=step * _RUNS + turn)
        for search in searches.values():
            search.judge()
    return {name: search.best for name, search in searches.items()}


@dataclass
class _Search:
    """Halves the rates that are left, step by step."""

    target: MeasuredService
    low: float
    high: float
    best: dict[str, Any] = field(default_factory=lambda: {"max_rps_at_p99_50ms": 0.0, "cpu_ms_at_max_rps": {}})
    runs: list[tuple[LoadReport, dict[str, float]]] = field(default_factory=list)

    @classmethod
    def of(cls, target: MeasuredService) -> _Search:
        """Begin with what 32 connections get out."""
        closed = target.load(0, CONNECTIONS[-1]).answered_rps
        return cls(target, _LOWEST * closed, _HIGHEST * closed)

    def run(self, seed: int) -> None:
        """Try the rate in the middle once."""
        self.runs.append(_with_cpu(self.target, (self.low + self.high) / 2, _OPEN_CONNECTIONS, seed))

    def judge(self) -> None:
        """Go on above the rate if it was kept up, else below."""
        rate = (self.low + self.high) / 2
        if median(_p99(report) for report, _ in self.runs) <= LIMIT_MS:
            self.low, costs = rate, [used for _, used in self.runs]
            self.best = {
                "max_rps_at_p99_50ms": round(mean(report.answered_rps for report, _ in self.runs), 1),
                "cpu_ms_at_max_rps": {name: round(mean(used[name] for used in costs), 3) for name in costs[0]},
            }
        else:
            self.high = rate
        self.runs.clear()


def _p99(report: LoadReport) -> float:
    """In milliseconds; endless where a request was not answered in full."""
    whole = report.answered == report.requests and not report.degraded
    return report.latency_ms["p99"] if whole else math.inf


def _with_cpu(target: MeasuredService, rate: float, connections: int, seed: int) -> tuple[LoadReport, dict[str, float]]:
    """A run, and the processor milliseconds of every process for each of its answers."""
    with cpu({**target.processes, "load": psutil.Process()}) as used:
        report = target.load(rate, connections, seed)
    return report, {name: round(seconds * 1e3 / max(report.answered, 1), 3) for name, seconds in used.used.items()}


def require_answers(report: LoadReport) -> None:
    """Raise when not all requests were answered: then the figures would flatter."""
    if report.answered != report.requests:
        raise RuntimeError(f"{report.url}: {report.model_dump(exclude={'by_second'})}")


def time_calls(call: Callable[[int], object], draw: list[int], seconds: float) -> Outcomes:
    """Call again and again, one at a time, until the time is over."""
    outcomes, start = Outcomes(), time.perf_counter()
    while (due := time.perf_counter() - start) < seconds:
        call(draw[len(outcomes.due) % len(draw)])
        outcomes.add(due, time.perf_counter() - start - due, ANSWERED)
    return outcomes
