"""The few verbs of the Kubernetes API that Pagoda needs, with its errors in our words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tenacity
import urllib3
from kubernetes import client, config

from pagoda.errors import ConfigError, ConflictError, UnavailableError

MANAGER = "pagoda-rollout"
"""Field manager of a rollout: what it applies is Pagoda's, everything else stays as others left it."""

Object = Mapping[str, Any]
Answer = TypeVar("Answer")

_TIMEOUT_SECONDS = (3, 10)
_CONFLICT, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR = 409, 404, 429, 500
_APPLY, _MERGE, _JSON = "application/apply-patch+yaml", "application/merge-patch+json", "application/json"


class _TryAgainError(Exception):
    """The server is busy, restarting or out of reach for the moment."""


class Cluster:
    """One namespace of a cluster."""

    def __init__(
        self, namespace: str, api: client.ApiClient | None = None, *, attempts: int = 5, pause_seconds: float = 0.2
    ) -> None:
        """Connect; nothing is asked yet.

        Args:
            namespace: Where everything is.
            api: None: as this pod's service account, or as the kubeconfig says.
            attempts: How often a busy server is asked in all.
            pause_seconds: Before it is asked again; twice that before the next time, and so on.

        Raises:
            ConfigError: There is neither a service account nor a kubeconfig.
        """
        if api is None:
            try:
                config.load_config()
            except config.ConfigException as error:
                raise ConfigError(f"neither a pod's service account nor a kubeconfig: {error}") from error
            api = client.ApiClient()
        self.namespace = namespace
        self._api = api
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_TryAgainError),
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_exponential_jitter(initial=pause_seconds, max=2.0, jitter=pause_seconds),
            reraise=True,
        )

    def get(self, group_version: str, plural: str, name: str) -> dict[str, Any] | None:
        """One object of the namespace, None when it is not there."""
        return self._call("GET", f"{self._path(group_version, plural)}/{name}")

    def find(self, group_version: str, plural: str, selector: str) -> list[dict[str, Any]]:
        """Objects of the namespace with these labels."""
        found = self._call("GET", self._path(group_version, plural), query=[("labelSelector", selector)])
        return list(found["items"]) if found else []

    def apply(self, group_version: str, plural: str, body: Object) -> None:
        """Server-side apply: `body` is all that our field manager wants of the object.

        Raises:
            ConflictError: The object is no longer at the resource version that `body` names.
        """
        name = body["metadata"]["name"]
        # Forced: we own the fields that we name (Kubernetes' advice to controllers); all others stay untouched.
        query = [("fieldManager", MANAGER), ("force", "true")]
        self._call("PATCH", f"{self._path(group_version, plural)}/{name}", query=query, body=body, content=_APPLY)

    def merge(self, group_version: str, plural: str, body: Object) -> None:
        """Merge `body` into an object.

        Raises:
            ConflictError: As for `apply`.
        """
        name = body["metadata"]["name"]
        query = [("fieldManager", MANAGER)]
        self._call("PATCH", f"{self._path(group_version, plural)}/{name}", query=query, body=body, content=_MERGE)

    def create(self, group_version: str, plural: str, body: Object) -> None:
        """Create an object.

        Raises:
            ConflictError: One of its name is there.
            UnavailableError: It is refused, or the cluster does not know its kind.
        """
        if self._call("POST", self._path(group_version, plural), body=body) is None:
            raise UnavailableError(f"the cluster has no {plural} of {group_version}, or no namespace {self.namespace}")

    def delete(self, group_version: str, plural: str, name: str, *, foreground: bool = False) -> None:
        """Delete an object; nothing happens when it is gone.

        In the foreground it stays, marked by `deletionTimestamp`, until all that belongs to it is gone; else it goes at
        once, and what belongs to it after it.
        """
        query = [("propagationPolicy", "Foreground")] if foreground else []
        self._call("DELETE", f"{self._path(group_version, plural)}/{name}", query=query)

    def log(self, pod: str, container: str, lines: int) -> str:
        """The last lines that a container of a pod wrote; empty when the pod is gone."""
        path = f"{self._path('v1', 'pods')}/{pod}/log"

        def once() -> str:
            answer = self._api.call_api(
                path,
                "GET",
                query_params=[("container", container), ("tailLines", str(lines))],
                header_params={"Accept": "*/*"},
                auth_settings=["BearerToken"],
                _preload_content=False,  # It is text, and would be taken for JSON where it looks like it.
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            return str(answer.data.decode("utf-8", "replace"))

        return self._translate(f"GET {path}", once) or ""

    def serves(self, group_version: str) -> bool:
        """Whether the cluster knows an API."""
        return self._call("GET", f"/apis/{group_version}") is not None

    def schemas(self, group_version: str) -> dict[str, Any]:
        """The OpenAPI schemas of an API, by name; empty when the server tells none."""
        found = self._call("GET", f"/openapi/v3/apis/{group_version}") or {}
        return dict(found.get("components", {}).get("schemas", {}))

    def may(self, verb: str, group: str, plural: str, name: str = "") -> bool:
        """Whether we may do this in the namespace."""
        attributes = {"namespace": self.namespace, "verb": verb, "group": group, "resource": plural, "name": name}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        found = self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review) or {}
        return bool(found.get("status", {}).get("allowed"))

    def _path(self, group_version: str, plural: str) -> str:
        root = "/apis" if "/" in group_version else "/api"
        return f"{root}/{group_version}/namespaces/{self.namespace}/{plural}"

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Object | None = None,
        content: str = _JSON,
    ) -> dict[str, Any] | None:
        def once() -> dict[str, Any]:
            answer = self._api.call_api(
                path,
                method,
                query_params=query or [],
                header_params={"Accept": _JSON, "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            return dict(answer)

        return self._translate(f"{method} {path}", once)

    def _translate(self, what: str, once: Callable[[], Answer]) -> Answer | None:
        def attempt() -> Answer | None:
            try:
                return once()
            except client.ApiException as error:
                if error.status == _NOT_FOUND:
                    return None
                if error.status == _TOO_MANY or not error.status or error.status >= _SERVER_ERROR:
                    raise _TryAgainError(f"{error.status} {error.reason}") from error
                kind = ConflictError if error.status == _CONFLICT else UnavailableError
                raise kind(f"Kubernetes refused {what}: {error.status} {_message(error)}") from error
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise _TryAgainError(str(error)) from error

        try:
            return self._retry(attempt)
        except _TryAgainError as error:
            raise UnavailableError(f"Kubernetes does not answer {what}: {error}") from error


def _message(error: client.ApiException) -> str:
    return str(error.body)[:500] if error.body else str(error.reason)
