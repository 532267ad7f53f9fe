"""A recall pod of the chart's profile `compact`, as two processes: recall maps what its follower brings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pagoda.settings import Settings


@dataclass(frozen=True)
class Pod:
    """Where its containers answer."""

    recall: str
    follower: str


@contextmanager
def recall_pod(folder: Path, settings: Settings, store: str) -> Iterator[Pod]:
    """Run it in `folder`, over the logs and the Redis of an installation, with collections from `store`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PAGODA_")} | {
        "PAGODA_HOME": str(folder),
        "PAGODA_ACCESS__TOKENS": str(settings.tokens_folder),
        "PAGODA_INDEX__BACKEND": "in_process",
        "PAGODA_INDEX__STORE": store,
        "PAGODA_REDIS__URL": settings.redis.url,
        "PAGODA_REGISTRY__ARTIFACTS": settings.artifacts_url,
        "PAGODA_REGISTRY__LOG": settings.log_url,
        "PAGODA_REGISTRY__SIGNING_KEY": settings.signing_key,
        "PAGODA_TOWER__RUNTIME": "in_process",
    }
    folder.mkdir()
    ports = [_free_port() for _ in range(2)]
    commands = [
        ["serving.recall", f"--port={ports[0]}"],
        ["serving.workers.follower", f"--metrics-port={ports[1]}"],
    ]
    with ExitStack() as stack:
        for command in commands:
            process = stack.enter_context(subprocess.Popen([sys.executable, "-m", *command], env=environment))
            stack.callback(process.kill)
        yield Pod(*(f"http://127.0.0.1:{port}" for port in ports))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
