"""A proxy between the recall service and the user tower, where faults come from: no part of the product knows of it.

`python -m demos.rollout.proxy` runs it. It reads the faults of each full version from a file before each request, and
takes down what the tower was asked, so that every answer can be computed again.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiohttp import ClientSession, ClientTimeout, web

from pagoda.settings import LOCAL_URL, socket_path
from serving.recall.servers.tower import connector_of

_VERSION = re.compile(r"/predictions/pagoda/(\d+)\.0")
_TIMEOUT_SECONDS = 5


class VersionFault:
    """What goes wrong for one full version."""

    def __init__(self, fault: Mapping[str, Any], draws: random.Random) -> None:
        self._fault, self._draws = fault, draws

    async def delay(self) -> None:
        """Be slow: `delay_ms`, from and to."""
        if bounds := self._fault.get("delay_ms"):
            await asyncio.sleep(self._draws.uniform(*bounds) / 1e3)

    @property
    def fails(self) -> bool:
        """Whether this request fails: `fail`, a share."""
        return self._draws.random() < float(self._fault.get("fail", 0))

    def change(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the tower is asked instead: without the features that `empty` names."""
        nothing: dict[str, Any] = {name: [] for name in self._fault.get("empty", ())}
        if not nothing:
            return body
        return {**body, "instances": [{**instance, **nothing} for instance in body["instances"]]}


class Proxy:
    """Forwards requests to the tower at `upstream`."""

    def __init__(self, upstream: str, faults: Path, record: Path) -> None:
        self._upstream, self._faults, self._record = upstream, faults, record.open("ab", buffering=0)
        self._draws = random.Random(0)  # noqa: S311 - faults are no secrets

    async def start(self, _app: web.Application) -> None:
        """Open the connections."""
        timeout = ClientTimeout(total=_TIMEOUT_SECONDS)
        self._session = ClientSession(connector=connector_of(self._upstream), timeout=timeout)

    async def stop(self, _app: web.Application) -> None:
        """Close them."""
        await self._session.close()

    async def handle(self, request: web.Request) -> web.Response:
        """Forward one request."""
        found = _VERSION.search(request.path)
        fault = VersionFault(self._known().get(found[1], {}) if found else {}, self._draws)
        await fault.delay()
        if fault.fails:
            return web.json_response({"error": "the tower is out of order"}, status=500)
        body = fault.change(orjson.loads(await request.read()))
        self._record.write(orjson.dumps(body) + b"\n")
        content, headers = orjson.dumps(body), {"Content-Type": "application/json"}
        base = LOCAL_URL if socket_path(self._upstream) else self._upstream
        async with self._session.post(f"{base}{request.path}", data=content, headers=headers) as answer:
            return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)

    def _known(self) -> dict[str, Any]:
        return dict(orjson.loads(self._faults.read_bytes())) if self._faults.exists() else {}


def main(
    upstream: Annotated[str, typer.Option(help="Base URL of the tower's inference API.")],
    port: Annotated[int, typer.Option(help="To listen on, on loopback.")],
    faults: Annotated[Path, typer.Option(help="JSON: faults by full version.")],
    record: Annotated[Path, typer.Option(help="What the tower was asked is appended, a request a line.")],
) -> None:
    """Run the proxy until it is ended."""
    proxy, app = Proxy(upstream, faults, record), web.Application()
    app.on_startup.append(proxy.start)
    app.on_cleanup.append(proxy.stop)
    app.router.add_post("/{path:.*}", proxy.handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    typer.run(main)
