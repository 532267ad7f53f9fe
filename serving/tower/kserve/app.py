"""The HTTP of the tower on KServe's model server.

POST /v1/models/pagoda:predict, /v2/models/pagoda[/versions/7]/infer    KServe's two protocols
POST /predictions/pagoda/7.0                                            where TorchServe answers
GET  /v2/health/ready, /v2/models/pagoda, /metrics, /ping, …            KServe's own, and TorchServe's health

The body says which of its forms it has, whatever the address. Callers ask at TorchServe's, so none of them has to know
which server a tower runs on, and one can take the other's place while they ask.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from kserve import Model
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from pagoda.errors import RequestError, UnavailableError
from serving import tracing
from serving.http.body_reading import TooLargeError
from serving.tower.archive import MODEL
from serving.tower.kserve.batches import Asked, Batches
from serving.tower.kserve.held_bodies import HeldBodies
from serving.tower.kserve.metrics import REQUESTS
from serving.tower.kserve.versions import LoadedVersions
from serving.tower.replies import Reply, refuse

_ADDRESS = re.compile(
    rf"/predictions/{MODEL}(?:/(?P<torchserve>\d{{1,9}})\.0)?|/v1/models/{MODEL}:predict"
    rf"|/v2/models/{MODEL}(?:/versions/(?P<version>\d{{1,9}}))?/infer"
)
_TOO_LARGE, _UNAVAILABLE = 413, 503
_PARENT = tracing.PARENT.encode()
_HEADERS = [(b"content-type", b"application/json")]
_INPUTS = {"user_id": "INT64", "timestamp": "INT64", **dict.fromkeys(("profile", "context", "history"), "BYTES")}
"""The inputs of a v2 request, by type; with string IDs, IDs are BYTES."""
_OUTPUTS = {
    "vector": ("FP32", [-1, -1]),
    "vectors": ("FP32", [-1, -1, -1]),
    "known": ("BOOL", [-1]),
    "generation": ("BYTES", [-1]),
}
"""The outputs of a v2 answer; it has `vectors` in place of `vector` where a user has several interests."""


class TowerModel(Model):  # type: ignore[misc]
    """What KServe asks about: ready when this host answers for its generation, until it is told to stop."""

    def __init__(self, versions: LoadedVersions) -> None:
        super().__init__(MODEL)
        self._versions = versions
        self.leaving = False

    async def healthy(self) -> bool:
        return not self.leaving and self._versions.why_not_ready() is None

    def get_input_types(self) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in _INPUTS.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in _OUTPUTS.items()]


class TowerPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane, which knows of no versions and whose server is always ready."""

    versions: LoadedVersions

    async def ready(self) -> bool:
        return bool(await self.model_ready(MODEL))

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        return {**await super().model_metadata(model_name), "versions": [str(one) for one in self.versions.held()]}


class TowerApp:
    """The application."""

    def __init__(self, plane: TowerPlane, batches: Batches) -> None:
        """Answer by `batches`, and what KServe asks by `plane`."""
        self._batches, self._bodies, self._others = batches, HeldBodies(), _reading(plane)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the server."""
        address = _ADDRESS.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if address is None:
            await self._others(scope, receive, send)
            return
        status, body = await self._reply(address, scope, receive)
        REQUESTS.labels(str(status)).inc()
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, length]})
        await send({"type": "http.response.body", "body": body})

    async def _reply(self, address: re.Match[str], scope: Scope, receive: Receive) -> Reply:
        version = address["torchserve"] or address["version"]
        parent = dict(scope["headers"]).get(_PARENT) if tracing.on() else None
        try:
            async with self._bodies.read(Request(scope, receive)) as raw:
                asked = Asked(raw, int(version) if version else None, parent.decode("latin-1") if parent else None)
                return await self._batches.answer(asked)
        except TooLargeError as error:
            return _TOO_LARGE, refuse(error)[1]
        except RequestError as error:
            return refuse(error)
        except ClientDisconnect:
            return refuse(RequestError("body: ends before its end, since the caller has left"))
        except UnavailableError as error:
            return _UNAVAILABLE, refuse(error)[1]


def _reading(plane: DataPlane) -> ASGIApp:
    """What is only read: KServe's endpoints but for those that load and unload models, and metrics."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    v1, v2 = V1Endpoints(plane), V2Endpoints(plane)
    routes: dict[str, Callable[..., object]] = {
        "/": plane.live,
        "/ping": _ping,
        "/v1/models": v1.models,
        "/v1/models/{model_name}": v1.model_ready,
        "/v2": v2.metadata,
        "/v2/health/live": v2.live,
        "/v2/health/ready": v2.ready,
        "/v2/models": v2.models,
        "/v2/models/{model_name}": v2.model_metadata,
        "/v2/models/{model_name}/ready": v2.model_ready,
        "/metrics": _metrics,
    }
    for path, route in routes.items():
        app.add_api_route(path, route, methods=["GET"])
    for kind, status in ((ModelNotFound, 404), (ModelNotReady, _UNAVAILABLE), (ServerNotReady, _UNAVAILABLE)):
        app.add_exception_handler(kind, _refusing(status))
    return app


async def _ping() -> dict[str, str]:
    """TorchServe's health: that the process answers."""
    return {"status": "Healthy"}


async def _metrics() -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _refusing(status: int) -> Callable[[Request, Exception], Response]:
    return lambda _, error: JSONResponse({"error": str(error)}, status)
