"""KServe's read-only routes, answered by KServe (0.21.0: protocol/rest/v1_endpoints.py, v2_endpoints.py).

Those that load and unload models are left out: anybody could switch recall off. KServe describes its answers to readers
of its code; the page describes the same forms (protocol/rest/v2_datamodels.py) to callers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, NotRequired

from fastapi import FastAPI, Request
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from typing_extensions import TypedDict

from pagoda.access.roles import Role
from serving.http.fields import described
from serving.http.openapi import gives, in_path, needs, refusals
from serving.recall.api import MODEL

_NAME = "model_name"


@described
class Alive(TypedDict):
    """The process answers."""

    status: str
    """`alive`."""


@described
class ServerLive(TypedDict):
    """The process answers."""

    live: bool
    """True; else there is no answer."""


@described
class ServerReady(TypedDict):
    """The service answers requests."""

    ready: bool
    """True; else the answer is a 503."""


@described
class ModelReady(TypedDict):
    """The model answers requests."""

    name: str
    """The model's."""
    ready: bool
    """True; else the answer is a 503."""


@described
class ModelNames(TypedDict):
    """What the server serves."""

    models: list[str]
    """The models' names: `recall`."""


@described
class ServerMetadata(TypedDict):
    """Which software the server is."""

    name: str
    """KServe's."""
    version: str
    """Of KServe."""
    extensions: list[str]
    """Of the protocol, that KServe knows. Nothing here loads or unloads a model."""


@described
class TensorMetadata(TypedDict):
    """An input or output of v2 requests."""

    name: str
    """The field of an instance, or of the answer."""
    datatype: str
    """INT32, INT64, FP32, BOOL, or BYTES for strings and JSON texts. IDs are BYTES where the dataset's are strings."""
    shape: list[int]
    """-1: as long as there are instances; of what is said of items, as there are items."""


@described
class ModelMetadata(TypedDict):
    """What v2 requests to a model may hold, and its answers."""

    name: str
    """The model's."""
    versions: NotRequired[list[str] | None]
    """Null: recall has none, answers name their generation."""
    platform: str
    """Empty."""
    inputs: list[TensorMetadata]
    """All are optional but `user_id`."""
    outputs: list[TensorMetadata]
    """Some are there only where the generation or the request has them."""


class _Reading(NamedTuple):
    """A route that only tells."""

    path: str
    answered: Callable[..., object]
    description: str
    answer: Any
    """A type."""
    example: dict[str, Any]
    refused: tuple[int, ...]
    """Statuses."""
    roles: tuple[Role, ...] = ()


def add_kserve(app: FastAPI, dataplane: DataPlane) -> None:
    """Add the routes, answered by `dataplane`."""
    for one in _routes(dataplane):
        app.add_api_route(
            one.path,
            one.answered,
            methods=["GET"],
            tags=["KServe"],
            description=one.description,
            response_model=None,
            responses={**gives(one.answer, one.answer.__doc__, one.example), **refusals(*one.refused)},
            openapi_extra={
                **(in_path(_NAME, f"The model: `{MODEL}`.") if _NAME in one.path else {}),
                **needs(*one.roles),
            },
        )


def _routes(dataplane: DataPlane) -> list[_Reading]:
    v1, v2 = V1Endpoints(dataplane), V2Endpoints(dataplane)
    names, ready = {"models": [MODEL]}, {"name": MODEL, "ready": True}
    server = {"name": "kserve", "version": "0.21.0", "extensions": ["model_repository_extension"]}
    user, item = ({"name": f"{one}_id", "datatype": "INT64", "shape": [-1]} for one in ("user", "item"))
    metadata = {"name": MODEL, "platform": "", "inputs": [user], "outputs": [item]}
    open_, asked, model, model_ready = (403, 500), (401, 403, 500), (401, 403, 404, 500), (403, 404, 500, 503)
    is_ready = "Whether the model answers requests: a generation serves, and the service is not about to stop."
    return [
        _Reading("/", dataplane.live, "Whether the process answers.", Alive, {"status": "alive"}, open_),
        _Reading("/v1/models", v1.models, "Which models there are.", ModelNames, names, asked, ("ask",)),
        _Reading("/v1/models/{model_name}", _of(v1.model_ready), is_ready, ModelReady, ready, model_ready),
        _Reading("/v2", v2.metadata, "Which software answers.", ServerMetadata, server, asked, ("ask",)),
        _Reading("/v2/health/live", v2.live, "Whether the process answers.", ServerLive, {"live": True}, open_),
        _Reading("/v2/health/ready", v2.ready, is_ready, ServerReady, {"ready": True}, (403, 500, 503)),
        _Reading("/v2/models", v2.models, "Which models there are.", ModelNames, names, asked, ("ask",)),
        _Reading(
            "/v2/models/{model_name}",
            _of(v2.model_metadata),
            "The inputs and outputs of v2 requests, by name and type.",
            ModelMetadata,
            metadata,
            model,
            ("ask",),
        ),
        _Reading("/v2/models/{model_name}/ready", _of(v2.model_ready), is_ready, ModelReady, ready, model_ready),
    ]


def _of(call: Callable[[str], Awaitable[object]]) -> Callable[[Request], Awaitable[object]]:
    """`call` with the model that the path names, and nothing else: of versions KServe knows nothing yet, and fails."""

    async def answered(request: Request) -> object:
        return await call(request.path_params[_NAME])

    answered.__name__ = call.__name__  # Of which FastAPI makes the page's summary and operation ID.
    return answered
