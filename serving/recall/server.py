"""The recall service as a KServe model server."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from fastapi import APIRouter
from kserve import Model, ModelServer
from kserve.protocol.dataplane import DataPlane
from starlette.types import ASGIApp

from pagoda.access.tokens import READ_SECONDS, Tokens
from pagoda.errors import UnavailableError
from pagoda.rollout.measures.outcomes import TakenEvent
from pagoda.settings import Settings
from serving.background import background, every
from serving.http.certificate import Certificate
from serving.http.connections import BoundedProtocol, Connections, Limits, raise_file_limit
from serving.http.draining import DrainingServer
from serving.http.listeners import ByListener, port_of
from serving.process import listen
from serving.recall.api import MODEL
from serving.recall.app import build_app, build_items_app
from serving.recall.factory import require, running
from serving.recall.generations.follower import Generations
from serving.recall.request.service import Recall
from serving.recall.similar.routes import similar_router
from serving.release_follower import ReleaseFollower

_FINISH_SECONDS = 10
_UNCOLLECTED = 50_000
"""Objects made before the collector looks for cycles. A cohort's answers are thousands, in no cycle; Python's own 700
would have it look several times for each."""
_INPUTS = {
    "user_id": "INT64",
    "k": "INT32",
    "exclude_seen": "BOOL",
    "explain": "BOOL",
    "timestamp": "INT64",
    "popularity_penalty": "FP32",
    **dict.fromkeys(("context", "profile", "history", "filter", "fields", "text", "merge"), "BYTES"),
}
"""The inputs of a v2 request, by type; with string IDs, IDs are BYTES."""
_OUTPUTS = {
    "item_id": "INT64",
    "score": "FP32",
    "recall_score": "FP32",
    "count": "INT32",
    "known_user": "BOOL",
    "propensity": "FP32",
    **dict.fromkeys(("generation", "arm", "degraded", "channels", "fields", "receipt", "explanation"), "BYTES"),
}


class RecallModel(Model):  # type: ignore[misc]
    """What KServe asks about: ready once a generation answered a real request, until the service is told to stop."""

    def __init__(self, generations: Generations) -> None:
        super().__init__(MODEL)
        self._generations = generations
        self.leaving = False

    async def healthy(self) -> bool:
        return self._generations.ready and not self.leaving

    def get_input_types(self) -> list[dict[str, Any]]:
        return [_tensor(*one) for one in _INPUTS.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        return [_tensor(*one) for one in _OUTPUTS.items()]


def _tensor(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


class _DataPlane(DataPlane):  # type: ignore[misc]
    """The server is ready when its model is; KServe's own answer is always yes."""

    async def ready(self) -> bool:
        return bool(await self.model_ready(MODEL))


class RecallServer(ModelServer):  # type: ignore[misc]
    """KServe's model server with its model registry and endpoints, started our own way.

    `ModelServer.start` listens on every address, gives up when no model is ready yet, writes two log lines a request,
    and lets anybody unload the model.
    """

    def __init__(
        self,
        recall: Recall,
        generations: Generations,
        tokens: Tokens,
        further: Sequence[APIRouter] = (),
        hosts: Collection[str] = (),
    ) -> None:
        super().__init__(enable_grpc=False, enable_latency_logging=False)
        self.dataplane = _DataPlane(self.registered_models)
        self._model = RecallModel(generations)
        self.register_model(self._model)
        self.app = build_app(recall, self.dataplane, tokens, further, hosts)

    async def serve(
        self,
        listener: socket.socket,
        drain_seconds: float,
        limits: Limits,
        others: Mapping[socket.socket, ASGIApp] | None = None,
        certificate: Certificate | None = None,
    ) -> None:
        """Answer requests that come in until SIGTERM or SIGINT, then those that still come, then stop.

        Args:
            listener: Where requests for recall come in.
            drain_seconds: How long it goes on after the signal: not ready, and closing each connection with its answer,
                so that callers go elsewhere by themselves and none is cut off.
            limits: How many connections there may be.
            others: Further listeners, each with its own application.
            certificate: Shown at all of them; without, there is no TLS.
        """
        others, connections = others or {}, Connections(limits)
        config = uvicorn.Config(
            ByListener(self.app, {port_of(one): app for one, app in others.items()}),
            loop="none",
            ws="none",
            http=partial(BoundedProtocol, connections),  # type: ignore[arg-type] # what makes a protocol is called alike
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_FINISH_SECONDS,
            ssl_context_factory=(lambda *_: certificate.context) if certificate else None,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            # uvicorn sends itself the signal again when it has finished; by then there is nothing left to do.
            signal.signal(number, lambda *_: None)
        # What was imported stays for good; a full collection over its 200,000 objects would stop requests for 60 ms.
        gc.freeze()
        gc.set_threshold(_UNCOLLECTED)
        async with background(connections.follow, *([certificate.follow] if certificate else [])):
            await DrainingServer(config, self._leave, drain_seconds).serve(sockets=[listener, *others])

    def _leave(self) -> None:
        self._model.leaving = True


class Intakes(Protocol):
    """What the process takes besides answering, as routers by the listener that they belong to."""

    @property
    def events(self) -> Sequence[APIRouter]:
        """At recall's own."""

    @property
    def items(self) -> Sequence[APIRouter]:
        """At the items'."""


OpenIntakes = Callable[
    [Settings, ReleaseFollower, Callable[[Sequence[TakenEvent]], None]], AbstractAsyncContextManager[Intakes]
]
"""Opens them until a block ends; its function is told what events came in."""


async def serve(
    settings: Settings,
    host: str,
    port: int,
    open_intakes: OpenIntakes,
    *,
    items_port: int = 0,
    certificate: Path | None = None,
) -> None:
    """Run the recall service at `host:port` until it is told to stop.

    Args:
        settings: Of this installation.
        host: Address to listen on.
        port: Where recall is asked for and events come in.
        open_intakes: Opens what takes events and item changes: no matter of recall, but of the same process.
        items_port: Where item changes come in; 0: nowhere.
        certificate: Folder of the certificate that is shown at both; None: there is no TLS.

    Raises:
        ConfigError: The settings do not say where a part is, or there are no tokens or no certificate.
        UnavailableError: A port is taken.
    """
    require(settings)
    tokens, hosts = Tokens(settings.tokens_folder), settings.recall.hosts
    shown = Certificate(certificate) if certificate else None
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(_listener(host, port))
        own = stack.enter_context(_listener(host, items_port)) if items_port else None
        recall, similar, generations = await stack.enter_async_context(running(settings))
        intakes = await stack.enter_async_context(open_intakes(settings, generations.releases, recall.note))
        await stack.enter_async_context(background(partial(every, READ_SECONDS, tokens.refresh)))
        others = {own: build_items_app(intakes.items, tokens, hosts)} if own else {}
        further = [similar_router(similar), *intakes.events]
        server = RecallServer(recall, generations, tokens, further, hosts)
        bounds = settings.recall
        limits = Limits(raise_file_limit(bounds.connections), bounds.connections_of_client)
        await server.serve(listener, bounds.drain_seconds, limits, others, shown)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        raise UnavailableError(f"recall: cannot listen on {host}:{port}: {error.strerror}") from error
