"""What one bad client costs the others: `python -m benchmarks.fairness`.

200 normal requests a second on the embedded platform while one client, held to a fifth of a core, does its worst;
against a control in which the same client does the same to a server that does nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.fairness.abuser import ABUSES
from benchmarks.fairness.held import held
from benchmarks.online.installation import Installation, install, process
from benchmarks.online.world import make_world
from pagoda.access.tokens import token_of
from pagoda.load_test.outcomes import ANSWERED, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.sending import send
from pagoda.standalone.platform import Platform
from pagoda.standalone.ports import choose_ports
from pagoda.standalone.profiles import FULL

CORES = 0.2
_BEFORE_SECONDS, _PAUSE_SECONDS = 3.0, 1.0
_REFUSED = "HTTP 4"
console = Console(width=None if sys.stdout.isatty() else 140)


def main() -> None:
    """Measure every abuse and write the array."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=200.0, help="normal requests a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=ABUSES, help="abuses to measure")
    parser.add_argument("--out", type=Path, default=Path("build/bench/fairness.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="fairness-")).resolve()
    try:
        results = run(folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    arguments.out.write_text(json.dumps(results, indent=1))
    show(results, arguments.rate)


def run(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Set up an installation in `folder` and abuse it."""
    platform = Platform(folder / "home")
    try:
        console.print("setting up", style="dim")
        installation = install(
            platform, make_world(folder / "world", arguments.items, arguments.users), FULL, lambda _: None
        )
        installation = replace(installation, settings=platform.start(["sink"]))
        with dummy(folder) as port:
            bench = FairnessBench(installation, port, arguments)
            return [bench.abuse(name) for name in arguments.only or ABUSES]
    finally:
        platform.down()


@contextmanager
def dummy(folder: Path) -> Iterator[int]:
    """A server that does nothing; its port."""
    port = choose_ports(["it"], [])["it"]
    with process("benchmarks.fairness.dummy", str(port), home=folder, log=folder / "dummy.log"):
        yield port


class FairnessBench:
    """All rounds on one installation."""

    def __init__(self, installation: Installation, dummy_port: int, arguments: argparse.Namespace) -> None:
        self._url, self._dummy = installation.settings.recall.url, dummy_port
        self._port = int(urlsplit(self._url).port or 0)
        self._tokens = installation.settings.tokens_folder
        self._users, self._arguments = range(len(installation.world.users)), arguments
        self._normal(0)  # Nothing is warm before it.

    def abuse(self, name: str) -> dict[str, Any]:
        """One abuse, and its control, in turn; what comes second in one round comes first in the next."""
        rounds: list[dict[str, float]] = []
        errors, holders = 0, set[str]()
        for number in range(self._arguments.rounds):
            found = {}
            kinds = ("abused", "control") if number % 2 else ("control", "abused")
            for kind in kinds:
                port = self._port if kind == "abused" else self._dummy
                with held("benchmarks.fairness.abuser", name, str(port), str(self._tokens), cores=CORES) as holder:
                    holders.add(holder)
                    time.sleep(_BEFORE_SECONDS)
                    outcomes = self._normal(number + 1)
                found[kind] = p99(outcomes)
                if kind == "abused":
                    errors += failed(outcomes)
                time.sleep(_PAUSE_SECONDS)
            rounds.append(found)
        result = {
            "abuse": name.replace("_", " "),
            "p99_ms": round(median(one["abused"] for one in rounds), 2),
            "control_p99_ms": round(median(one["control"] for one in rounds), 2),
            "errors_5xx": errors,
            "held_by": ", ".join(holders),
            "rounds": rounds,
        }
        console.print({key: value for key, value in result.items() if key != "rounds"}, highlight=False)
        return result

    def _normal(self, seed: int) -> Outcomes:
        plan = LoadPlan(self._users, self._arguments.rate, self._arguments.seconds, seed=seed)
        return send(plan, self._url, connections=128, timeout_seconds=20, token=token_of(self._tokens, "ask"))


def p99(outcomes: Outcomes) -> float:
    """Of the answered ones, in ms."""
    answered = [s for s, kind in zip(outcomes.seconds, outcomes.kinds, strict=True) if kind == ANSWERED]
    return round(float(np.percentile(answered, 99)) * 1e3, 2)


def failed(outcomes: Outcomes) -> int:
    """Requests without an answer: 5xx of any kind, shed ones too, and what did not come in time."""
    return sum(kind != ANSWERED and not kind.startswith(_REFUSED) for kind in outcomes.kinds)


def show(results: list[dict[str, Any]], rate: float) -> None:
    """Print the results as a table."""
    table = Table(title=f"One bad client beside {rate:g} requests a second", title_justify="left", box=None)
    for name in ("abuse", "p99, ms", "control's", "ratio", "5xx"):
        table.add_column(name, justify="left" if name == "abuse" else "right")
    for one in results:
        ratio = one["p99_ms"] / one["control_p99_ms"]
        table.add_row(
            one["abuse"], str(one["p99_ms"]), str(one["control_p99_ms"]), f"{ratio:.2f}", str(one["errors_5xx"])
        )
    console.print(table)


if __name__ == "__main__":
    main()
