"""The online path against its parts and its peers: `python -m benchmarks.online`.

1 M items × 64, top-100, all on one machine in one run: in process, behind a bare app, and the compact platform, all by
one tower and one index; the straightforward path, and Pagoda, also with each stage removed and with all channels; and
each server alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil
import uvloop
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.online.channels import by_channel, write_mixture
from benchmarks.online.document import as_tables, assemble
from benchmarks.online.installation import Installation, install, process, wait_ready
from benchmarks.online.limit import Limit, exact, prepare, recall_at_100, run_threads
from benchmarks.online.measure import MeasuredService, cpu, highest_rates, measure, rest
from benchmarks.online.parts import many_at_once, one_at_a_time, repeated
from benchmarks.online.without import REMOVED
from benchmarks.online.world import HISTORY, NOW_US, BenchWorld, make_world
from pagoda.access.tokens import bearer, token_of
from pagoda.index.milvus.parameters import search_params
from pagoda.settings import CollectionConfig, tower_address
from pagoda.standalone.platform import Platform
from pagoda.standalone.ports import choose_ports
from pagoda.standalone.profiles import COMPACT, FULL
from serving.tower.archive import archives

PROBES = 200
ROUNDS = 15
console = Console(width=None if sys.stdout.isatty() else 140)


def main() -> None:
    """Measure everything and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--only", nargs="*", help="systems to measure, to try something; no document is written")
    parser.add_argument("--out", type=Path, default=Path("build/bench/online.json"))
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the result rather than in /tmp, which may be memory.
    folder = Path(tempfile.mkdtemp(dir=arguments.out.parent, prefix="online-")).resolve()
    platforms = {profile: Platform(folder / profile) for profile in (FULL, COMPACT)}
    start = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - start:6.1f} s[/] {text}", highlight=False)

    try:
        say(f"making {arguments.items:,} items")
        world = make_world(folder / "world", arguments.items, arguments.users)
        bench = OnlineBench(platforms, world, folder, arguments.seconds, say)
        measured = {name: measure_() for name, measure_ in bench.all(arguments.only).items()}
    finally:
        for platform in platforms.values():
            platform.down()
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.only:
        console.print_json(json.dumps(measured))
        return
    document = assemble({"items": arguments.items, **measured})
    arguments.out.write_text(json.dumps(document, indent=1))
    console.print(as_tables(document))
    say(str(arguments.out))


@dataclass
class OnlineBench:
    """All measurements, on one machine: each platform is started when it is first asked."""

    platforms: Mapping[str, Platform]
    world: BenchWorld
    folder: Path
    seconds: float
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        random = np.random.default_rng(4)
        self.probes = [int(user) for user in random.choice(self.world.users, PROBES, replace=False)]

    @cached_property
    def full(self) -> Installation:
        """The full platform, at rest."""
        installed = install(self.platforms[FULL], self.world, FULL, self.say)
        share = rest(psutil.Process(installed.pid("milvus")))
        self.say(f"Milvus by itself takes {share:.0%} of a core")
        return installed

    @cached_property
    def compact(self) -> Installation:
        """The compact platform."""
        return install(self.platforms[COMPACT], self.world, COMPACT, self.say)

    @cached_property
    def limit_files(self) -> Path:
        """What `Limit` reads."""
        prepare(self.compact, self.folder / "limit")
        return self.folder / "limit"

    @cached_property
    def near(self) -> Limit:
        """The tower and the search of the compact platform, in this process."""
        return Limit.load(self.limit_files)

    @cached_property
    def truth(self) -> NDArray[np.int64]:
        """The true items of the probes, [n, 100]."""
        return exact(self.world, np.concatenate([self.near.vector(user) for user in self.probes]))

    def all(self, only: list[str] | None) -> dict[str, Callable[[], dict[str, Any]]]:
        """What there is to measure, by name."""
        every: dict[str, Callable[[], dict[str, Any]]] = {
            "limit": self.limit,
            "bare": self.bare,
            "parts": self.parts,
            "one_connection": self.one_connection,
            "straightforward": self.straightforward,
            "compact": self.compact_platform,
            "pagoda": self.pagoda,
            "kserve_tower": self.kserve_tower,
            "sustained": self.sustained,
            "without": self.without,
            "channels": self.channels,
        }
        return {name: measure_ for name, measure_ in every.items() if not only or name in only}

    def limit(self) -> dict[str, Any]:
        """In process, by threads instead of connections."""
        self.say("limit: in process")
        limit, users = self.near, len(self.world.users)
        draw = np.random.default_rng(1).integers(0, users, 50_000).tolist()
        found: dict[str, Any] = {"p50": {}, "p95": {}, "p99": {}}
        best = 0.0
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            with cpu({"limit": psutil.Process()}) as used:
                took, rps = run_threads(limit, threads, draw, self.seconds)
            for name in ("p50", "p95", "p99"):
                found[name][str(threads)] = round(float(np.percentile(took, float(name[1:]))) * 1e3, 3)
            best = max(best, rps)
        reached = recall_at_100([limit.answer(user)[1].tolist() for user in self.probes], self.truth)
        milliseconds = round(used.used["limit"] * 1e3 / len(took), 3)
        return {
            **found,
            "max_rps_at_p99_50ms": round(best, 1),
            "recall_at_100": reached,
            "cpu_ms_per_request": milliseconds,
        }

    def bare(self) -> dict[str, Any]:
        """The limit behind a bare FastAPI app."""
        with self._bare() as target:
            return self._service("bare", target)

    def parts(self) -> dict[str, Any]:
        """Each server alone."""
        self.say("parts: Redis, TorchServe, Milvus, each alone")
        busy = asyncio.run(many_at_once(self.full, self.seconds))
        quiet = uvloop.run(repeated(self.full, self.seconds))
        return {name: busy[name] | quiet[name] for name in busy}

    def one_connection(self) -> dict[str, Any]:
        """Pagoda, its parts, Pagoda without each of them, and the compact platform and its bare app, in turn and round
        after round.

        So a slow minute of the machine meets all of them, and not the one that was measured just then. Pagoda's own
        share is the median of the rounds' own.
        """
        self.say(f"one connection: Pagoda, its parts, and Pagoda without each, {ROUNDS} rounds in turn")
        rounds = []
        with ExitStack() as stack:
            targets = {
                "bare": stack.enter_context(self._bare()),
                "compact": self._platform(self.compact),
                "pagoda": self._platform(self.full),
                "kserve_tower": stack.enter_context(self._kserve_tower()),
            }
            for stage in REMOVED:
                url, _ = stack.enter_context(self._reduced(stage))
                targets[f"without {stage}"] = self._target(self.full, url, {})
            targets = {name: replace(target, seconds=self.seconds / 2) for name, target in targets.items()}
            for number in range(ROUNDS):
                found = {name: target.one_at_a_time(number) for name, target in targets.items()}
                parts = uvloop.run(one_at_a_time(self.full, self.seconds))
                own = found["pagoda"]["p50"] - sum(part["p50"] for part in parts.values())
                rounds.append(found | parts | {"own": {"p50": own}})
        return {
            name: {quantile: round(median(one[name][quantile] for one in rounds), 3) for quantile in quantiles}
            for name, quantiles in rounds[0].items()
        }

    def straightforward(self) -> dict[str, Any]:
        """The straightforward path, with a TorchServe of its own that computes one user at a time."""
        with self._straightforward() as target:
            return self._service("straightforward", target)

    def pagoda(self) -> dict[str, Any]:
        """The platform as it is."""
        return self._service("pagoda", self._platform(self.full, "redis", "torchserve", "milvus", "recall"))

    def compact_platform(self) -> dict[str, Any]:
        """The platform with tower and search in the recall process."""
        return self._service("compact", self._platform(self.compact, "redis", "recall"))

    def kserve_tower(self) -> dict[str, Any]:
        """The platform with its tower on KServe's own model server."""
        with self._kserve_tower() as target:
            return self._service("kserve_tower", target)

    def sustained(self) -> dict[str, Any]:
        """How much each of them keeps up, in turn."""
        with self._bare() as bare, self._straightforward() as straightforward, self._kserve_tower() as kserve:
            self.say("the highest rates that they keep up, in turn")
            ours = {
                "compact": self._platform(self.compact, "redis", "recall"),
                "pagoda": self._platform(self.full, "redis", "torchserve", "milvus", "recall"),
                "kserve_tower": kserve,
            }
            return highest_rates({"bare": bare, "straightforward": straightforward, **ours})

    def without(self) -> dict[str, Any]:
        """Pagoda with each stage removed in turn."""
        used, found = self._processes("redis", "torchserve", "milvus"), {}
        for stage in REMOVED:
            with self._reduced(stage) as (url, child):
                self.say(f"pagoda without {stage}")
                found[stage] = measure(self._target(self.full, url, {**used, "app": child}))
        return found

    def channels(self) -> dict[str, Any]:
        """Both profiles by all channels and by the towers alone, in turn; and each channel in this process."""
        path = write_mixture(self.world, self.folder / "channels")
        found: dict[str, Any] = {"by_channel": by_channel(self.compact, path, self.probes)}
        for profile, installed in ((FULL, self.full), (COMPACT, self.compact)):
            self.say(f"{profile}: all channels beside the towers alone, in turn")
            home = installed.settings.home
            # Both are started alike: the scheduler treats the platform's own service as a session apart.
            with (
                self._running("alone", "serving.recall", ["--port"], home) as alone,
                self._running("channels", "benchmarks.online.channels", [str(path)], home) as together,
            ):
                found[profile] = highest_rates(
                    {
                        name: self._target(installed, url, {"recall": child})
                        for name, (url, child) in (("two_tower", alone), ("all", together))
                    }
                )
        return found

    @contextmanager
    def _bare(self) -> Iterator[MeasuredService]:
        home, arguments = self.compact.settings.home, [str(self.limit_files)]
        with self._running("bare", "benchmarks.online.bare", arguments, home) as (url, app):
            yield self._target(self.compact, url, {"app": app})

    @contextmanager
    def _straightforward(self) -> Iterator[MeasuredService]:
        settings, manifest = self.full.settings, self.full.manifest
        home, ports = self.folder / "straightforward", choose_ports(["inference", "metrics"], [])
        shutil.rmtree(home, ignore_errors=True)
        (home / "archives").mkdir(parents=True)
        # With them comes what the follower of the installation found the archives to be.
        (home / "tables").symlink_to(settings.tables_folder)
        for archive in archives(settings.home / "archives"):
            shutil.copy(archive, home / "archives")
        url = f"http://127.0.0.1:{ports['inference']}"
        tower = ("--inference", url, "--metrics", f"http://127.0.0.1:{ports['metrics']}")
        one = ("--batch-size", "1", "--batch-delay-ms", "0")
        with process("serving.tower", *tower, *one, home=home, log=self.folder / "tower.log") as torchserve:
            self._wait_tower(url, manifest.full_version)
            where = [settings.redis.url, tower_address(url, manifest.full_version), settings.milvus.uri]
            effort = search_params("HNSW", 100, CollectionConfig().effort)["ef"]
            arguments = [*where, manifest.collection, manifest.id, str(effort), str(HISTORY)]
            used = {"torchserve": torchserve, **self._processes("redis", "milvus")}
            with self._running("straightforward", "benchmarks.online.straightforward", arguments, home) as (url, app):
                yield self._target(self.full, url, {**used, "app": app})

    def _platform(self, installed: Installation, *services: str) -> MeasuredService:
        used = {service: psutil.Process(installed.pid(service)) for service in services}
        return self._target(installed, installed.settings.recall.url, used)

    @contextmanager
    def _kserve_tower(self) -> Iterator[MeasuredService]:
        """A recall service and a tower of its own; archives, tables, Redis and Milvus are the platform's."""
        home, port = self.full.settings.home, choose_ports(["it"], [])["it"]
        with tempfile.TemporaryDirectory(prefix="pagoda-kserve-") as sockets:
            tower_url, url = f"unix:{sockets}/tower.sock", f"http://127.0.0.1:{port}"
            given = ("--inference", tower_url)
            with (
                process("serving.tower.kserve", *given, home=home, log=self.folder / "kserve.log") as tower,
                process(
                    *("serving.recall", "--port", str(port)),
                    home=home,
                    log=self.folder / "kserve-recall.log",
                    environment={"PAGODA_TOWER__RUNTIME": "kserve", "PAGODA_TOWER__URL": tower_url},
                ) as recall,
            ):
                wait_ready(url)
                used = {"tower": tower, "recall": recall, **self._processes("redis", "milvus")}
                yield self._target(self.full, url, used)

    def _reduced(self, stage: str) -> AbstractContextManager[tuple[str, psutil.Process]]:
        home = self.full.settings.home
        return self._running(f"without {stage}", "benchmarks.online.without", [stage], home)

    def _service(self, name: str, target: MeasuredService) -> dict[str, Any]:
        self.say(name)
        return {**measure(target), "recall_at_100": self._recall(target)}

    @contextmanager
    def _running(
        self, name: str, module: str, arguments: list[str], home: Path
    ) -> Iterator[tuple[str, psutil.Process]]:
        port = choose_ports(["it"], [])["it"]
        log = self.folder / f"{name}.log"
        # As the platform starts its own.
        one_thread = {"OMP_NUM_THREADS": "1"}
        with process(module, *arguments, str(port), home=home, log=log, environment=one_thread) as child:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            yield url, child

    def _target(self, installed: Installation, url: str, processes: dict[str, psutil.Process]) -> MeasuredService:
        token = token_of(installed.settings.tokens_folder, "ask")
        return MeasuredService(url, len(self.world.users), processes, self.seconds, token)

    def _processes(self, *services: str) -> dict[str, psutil.Process]:
        return {service: psutil.Process(self.full.pid(service)) for service in services}

    def _recall(self, target: MeasuredService) -> float:
        found = []
        with httpx.Client(base_url=target.url, headers=bearer(target.token), timeout=30) as client:
            for user in self.probes:
                body = {"instances": [{"user_id": user, "k": 100, "timestamp": NOW_US}]}
                answer = client.post("/v1/models/recall:predict", json=body).raise_for_status()
                found.append([item["item_id"] for item in answer.json()["predictions"][0]["items"]])
        return recall_at_100(found, self.truth)

    def _wait_tower(self, url: str, version: int) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx.post(tower_address(url, version), json={"user_id": 1}).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        sys.exit("the straightforward path's TorchServe does not answer")


if __name__ == "__main__":
    main()
