"""`python -m tests.serving.draining FD SECONDS`: a recall service over stand-ins at a socket that others share."""

from __future__ import annotations

import asyncio
import socket
import sys

from serving.http.connections import Limits
from serving.recall.server import RecallServer
from tests.serving.recall.setting import Setting

from .callers import tokens


async def main(descriptor: int, drain_seconds: float) -> None:
    """Serve until told to stop; every answer takes a moment."""
    setting = Setting()
    await setting.generations.refresh()
    setting.tower.wait = lambda _: asyncio.sleep(0.02)
    listener = socket.socket(fileno=descriptor)
    print("ready", flush=True)  # noqa: T201
    server = RecallServer(setting.recall, setting.generations, tokens())
    await server.serve(listener, drain_seconds, Limits(100, 100))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
