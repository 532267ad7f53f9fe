"""What the OpenAPI page says of who may come in. It is what the door goes by, so page and door cannot differ."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from typing_extensions import TypedDict

from pagoda.access.roles import ROLES, Role

_SCHEME = "token"


def needs(role: Role | None) -> dict[str, Any]:
    """`openapi_extra` of a route that needs a role, or none: everybody may come."""
    return {"security": [{_SCHEME: [role]}] if role else []}


def roles_of(app: FastAPI) -> dict[str, Role | None]:
    """What `needs` said, by path. It is read from the page: all routes are on it, however they came to the app.

    Raises:
        ValueError: A route says nothing, or the methods of a path do not agree.
    """
    found: dict[str, Role | None] = {}
    for path, methods in app.openapi()["paths"].items():
        said = [operation.get("security") for operation in methods.values()]
        if None in said or any(one != said[0] for one in said):
            raise ValueError(f"{path}: must say which role it needs, or that it needs none; see `needs`")
        found[path] = said[0][0][_SCHEME][0] if said[0] else None
    return found


def describe_tokens(app: FastAPI) -> None:
    """Put on the page of `app`, which must have all its routes, what a token is."""
    text = f"A token of a role: {', '.join(ROLES)}. `pagoda up` writes a file for curl of each, `HOME/curl/ROLE`."
    components = app.openapi().setdefault("components", {})
    components["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer", "description": text}}


class Refusal(TypedDict):
    """Why a request was not answered."""

    error: str


def takes(body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads `body` itself."""
    schema = {"$ref": _REF.format(model=body.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


_REF = "#/components/schemas/{model}"
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "A field is wrong; the error names it."},
    401: {"model": Refusal, "description": "No token, or an unknown one."},
    403: {"model": Refusal, "description": "The token is of another role, or another site has sent the request."},
    413: {"model": Refusal, "description": "The body is too large."},
    415: {"model": Refusal, "description": "The body is not said to be JSON."},
    503: {"model": Refusal, "description": "Not ready, or a server that is needed does not answer. Try again."},
}
