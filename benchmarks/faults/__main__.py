"""What users notice when something breaks: `python -m benchmarks.faults`.

Each fault under 100 requests and 10 events a second, one after the other, on the embedded platform.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks.faults.channel_faults import CHANNEL_FAULTS
from benchmarks.faults.channels import DeadChannels
from benchmarks.faults.events import EventSender, lost
from benchmarks.faults.faults import Fault, faults_of, mount, unmount
from benchmarks.faults.proxy import DelayProxy
from benchmarks.faults.tables import as_tables
from benchmarks.online.installation import Installation, install, process, wait_ready
from benchmarks.online.world import make_world
from pagoda.access.tokens import bearer, token_of
from pagoda.load_test.outcomes import ANSWERED, SHED, Outcomes
from pagoda.load_test.plan import LoadPlan
from pagoda.load_test.sending import send
from pagoda.standalone.platform import Platform
from pagoda.standalone.ports import choose_ports
from pagoda.standalone.profiles import FULL

BEFORE_SECONDS, AFTER_SECONDS = 3.0, 5.0
_MOST_SECONDS = 150.0
_DISK_MEGABYTES = 256
_UNAVAILABLE = re.compile(r'pagoda_recall_requests_total\{outcome="unavailable",protocol="v1"\} ([\d.e+]+)')
console = Console(width=None if sys.stdout.isatty() else 140)


def main() -> None:
    """Cause every fault and write the array."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--only", nargs="*", help="faults whose names contain one of these")
    parser.add_argument("--out", type=Path, default=Path("build/bench/faults.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="faults-")).resolve()
    try:
        results = run(folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    arguments.out.write_text(json.dumps(results, indent=1))
    console.print(as_tables(results, arguments.rate))


def run(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Set up an installation in `folder` and cause the faults."""
    platform = Platform(folder / "home")
    disk = platform.layout.data("redis")
    small = disk if mount(disk, _DISK_MEGABYTES) else None
    try:
        console.print("setting up", style="dim")
        installation = install(
            platform, make_world(folder / "world", arguments.items, arguments.users), FULL, lambda _: None
        )
        installation = replace(installation, settings=platform.start(["mlflow"]))

        def chosen(name: str) -> bool:
            return not arguments.only or any(word in name for word in arguments.only)

        dead = DeadChannels(installation, folder, arguments.rate)
        found = [told(dead.measure(fault)) for fault in CHANNEL_FAULTS if chosen(fault.name)]
        with recall_through_proxies(installation, folder) as (url, proxies):
            faults = [fault for fault in faults_of(installation, proxies, small) if chosen(fault.name)]
            return found + [told(measure(fault, installation, url, arguments.rate)) for fault in faults]
    finally:
        platform.down()
        if small:
            unmount(small)


def told(result: dict[str, Any]) -> dict[str, Any]:
    """The same, once it is printed."""
    console.print(result, highlight=False)
    return result


@contextmanager
def recall_through_proxies(installation: Installation, folder: Path) -> Iterator[tuple[str, dict[str, DelayProxy]]]:
    """A recall service of its own, whose servers can be made slow; its URL, and the proxies by service."""
    settings, port = installation.settings, choose_ports(["it"], [])["it"]
    given = {"redis": settings.redis.url, "torchserve": settings.tower.url, "milvus": settings.milvus.uri}
    names = {"redis": "PAGODA_REDIS__URL", "torchserve": "PAGODA_TOWER__URL", "milvus": "PAGODA_MILVUS__URI"}
    with ExitStack() as stack:
        proxies = {name: DelayProxy(url) for name, url in given.items()}
        for proxy in proxies.values():
            stack.callback(proxy.close)
        changed = {names[name]: proxies[name].stands_for(name, url) for name, url in given.items()}
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            log = folder / "recall.log"
            stack.enter_context(process("serving.recall", "--port", str(port), home=settings.home, log=log))
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        url = f"http://127.0.0.1:{port}"
        wait_ready(url)
        yield url, proxies


def measure(fault: Fault, installation: Installation, url: str, rate: float) -> dict[str, Any]:
    """One fault under load, until its part is well and then some."""
    users, items = len(installation.world.users), installation.manifest.item_count
    plan = LoadPlan(range(users), rate, _MOST_SECONDS)
    outcomes, ending = Outcomes(), threading.Event()
    tokens = installation.settings.tokens_folder
    ask, watch = token_of(tokens, "ask"), token_of(tokens, "watch")
    warm_up(plan, url, ask)
    unavailable = refused_for_want(url, watch)
    events = EventSender(url, token_of(tokens, "events"), users, items)
    load = threading.Thread(
        target=lambda: send(plan, url, connections=256, timeout_seconds=20, token=ask, outcomes=outcomes, ending=ending)
    )
    start = time.monotonic()
    load.start()
    time.sleep(BEFORE_SECONDS)
    fault.cause()
    time.sleep(fault.held_seconds)
    fault.end()
    well = wait_well(fault) - start
    recovered = wait_recovered(outcomes, well, fault.patience_seconds)
    time.sleep(AFTER_SECONDS)
    ending.set()
    load.join()
    events.close()
    # Refused with 503 because nothing stood in is not shedding, though it says the same to the client.
    unavailable = refused_for_want(url, watch) - unavailable
    kinds = outcomes.kinds
    shed = kinds.count(f"HTTP {SHED}") - unavailable
    return {
        "fault": fault.name,
        "requests": len(kinds),
        "errors_5xx": sum(kind not in (ANSWERED, f"HTTP {SHED}") for kind in kinds) + unavailable + events.errors_5xx,
        "shed": shed,
        "degraded": sum(outcomes.degraded),
        "events_lost": lost(events.acknowledged, installation.settings.redis.url, installation.world.dataset.path),
        "recovery_seconds": round(recovered, 2),
        "fault_seconds": round(well - BEFORE_SECONDS, 2),
        "events": len(events.acknowledged),
        "degraded_by": dict(outcomes.marks),
    }


def warm_up(plan: LoadPlan, url: str, token: str) -> None:
    """Wait until answers are whole again, and every user's vector has been kept."""
    for _ in range(60):
        probe = LoadPlan(plan.users, plan.rate / 2, 2.0)
        found = send(probe, url, connections=32, token=token)
        if not any(found.degraded) and set(found.kinds) == {ANSWERED}:
            return
    raise RuntimeError(f"{url} does not recover: {set(found.kinds)}, {found.marks}")


def wait_well(fault: Fault) -> float:
    """The moment at which the part itself is well."""
    deadline = time.monotonic() + fault.patience_seconds
    while not fault.healthy():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{fault.name}: not well after {fault.patience_seconds:.0f} s")
        time.sleep(0.05)
    return time.monotonic()


def wait_recovered(outcomes: Outcomes, well: float, patience: float) -> float:
    """Seconds from then to the end of the first answer that nothing stood in for; the patience where there is none."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        count = len(outcomes.degraded)
        ends = (
            outcomes.due[place] + outcomes.seconds[place]
            for place in range(count)
            if outcomes.kinds[place] == ANSWERED and not outcomes.degraded[place]
        )
        if (first := min((end for end in ends if end >= well), default=None)) is not None:
            return first - well
        time.sleep(0.1)
    return patience


def refused_for_want(url: str, token: str) -> int:
    """Requests so far that were refused since a server did not answer and nothing stood in for it."""
    found = _UNAVAILABLE.search(httpx.get(f"{url}/metrics", headers=bearer(token)).text)
    return int(float(found[1])) if found else 0


if __name__ == "__main__":
    main()
