"""What routes say of themselves on the OpenAPI page: who may come in, and which body they read.

The door goes by the page, so the two cannot differ. Bodies are parsed by hand for speed, and described as if they were
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from typing_extensions import TypedDict

from pagoda.access.roles import ROLES, Role
from serving.http.body_reading import MAX_BODY_BYTES
from serving.http.fields import described

_JSON = "application/json"
_SCHEME = "token"
_SCHEMA = "#/components/schemas/{model}"


def needs(*roles: Role) -> dict[str, Any]:
    """`openapi_extra` of a route that needs one of some roles; without any, everybody may come."""
    return {"security": [{_SCHEME: [role]} for role in roles]}


def roles_of(app: FastAPI) -> dict[str, tuple[Role, ...]]:
    """What `needs` said, by path. It is read from the page: all routes are on it, however they came to the app.

    Raises:
        ValueError: A route says nothing, or the methods of a path do not agree.
    """
    found: dict[str, tuple[Role, ...]] = {}
    for path, methods in app.openapi()["paths"].items():
        said = [operation.get("security") for operation in methods.values()]
        if None in said or any(one != said[0] for one in said):
            raise ValueError(f"{path}: must say which role it needs, or that it needs none; see `needs`")
        found[path] = tuple(one[_SCHEME][0] for one in said[0])
    return found


def describe_tokens(app: FastAPI) -> None:
    """Put on the page of `app`, which must have all its routes, what a token is."""
    text = f"A token of a role: {', '.join(ROLES)}. `pagoda up` writes a file for curl of each, `HOME/curl/ROLE`."
    components = app.openapi().setdefault("components", {})
    components["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer", "description": text}}


@described
class ErrorBody(TypedDict):
    """Why a request was not answered."""

    error: Annotated[str, Field(examples=["instances.0.k: input should be less than or equal to 1000 (got 5000)"])]
    """Of a wrong request the field, the value and what was expected; else the part that is not available, or failed."""


class _Reference(str):
    """Where the page describes a body. It knows the body, which a route has no other place for."""

    body: type[BaseModel]

    def __new__(cls, body: type[BaseModel]) -> _Reference:
        made = super().__new__(cls, _SCHEMA.format(model=body.__name__))
        made.body = body
        return made


def takes(body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads `body` itself."""
    content = {_JSON: {"schema": {"$ref": _Reference(body)}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def describe_bodies(app: FastAPI, included: Sequence[APIRouter] = ()) -> None:
    """Put the bodies that routes say they take on the page of `app`, which must have all its routes.

    Args:
        app: The application.
        included: The routers that it includes; FastAPI does not give their routes back.
    """
    routes = chain(app.routes, *(router.routes for router in included))
    extras = [route.openapi_extra for route in routes if isinstance(route, APIRoute) and route.openapi_extra]
    contents = [extra["requestBody"]["content"] for extra in extras if "requestBody" in extra]
    bodies = [content[_JSON]["schema"]["$ref"].body for content in contents]
    _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=_SCHEMA)
    app.openapi()["components"]["schemas"].update(schemas["$defs"])


def gives(answer: Any, description: str, example: object) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that answers with `answer`, a type, by JSON."""
    return {200: {"model": answer, "description": description, "content": {_JSON: {"example": example}}}}


def in_path(name: str, description: str) -> dict[str, Any]:
    """`openapi_extra` of a route that reads a part of its path itself, as text, of which FastAPI refuses none."""
    said = {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}
    return {"parameters": [said]}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may answer with these statuses instead."""
    return {status: {"model": ErrorBody, **_REFUSALS[status]} for status in statuses}


_REFUSALS: dict[int, dict[str, Any]] = {
    400: {"description": "A field, a header or a parameter is wrong; the error names it. Nothing was done."},
    401: {
        "description": "No token, or an unknown one.",
        "headers": {"WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}}},
    },
    403: {"description": "The token is not of the role that this needs, or another site has sent the request."},
    404: {"description": "There is no model of this name."},
    413: {"description": f"The body is longer than {MAX_BODY_BYTES:,} bytes, or events are larger than Kafka takes."},
    415: {"description": "The body is not said to be JSON, or is packed."},
    500: {"description": "A fault of the service, whose log says more."},
    503: {
        "description": "Not ready, too much to do, or a server that is needed does not answer. Send the same again.",
        "headers": {"Retry-After": {"description": "Seconds to wait before.", "schema": {"type": "integer"}}},
    },
}
REFUSALS = refusals(400, 401, 403, 413, 415, 500, 503)
"""Of a route that needs a role and reads a body."""
