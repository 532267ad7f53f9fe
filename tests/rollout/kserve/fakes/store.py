"""What controllers need of an API server, so that the same ones run against the fake and against a real one."""

from __future__ import annotations

from typing import Any, Protocol

SERVICES, DEPLOYMENTS, AUTOSCALERS = "inferenceservices", "deployments", "horizontalpodautoscalers"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"


class Store(Protocol):
    """Objects of one namespace."""

    namespace: str

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """One object, None when it is not there."""

    def find(self, plural: str) -> list[dict[str, Any]]:
        """All of a kind that carry KServe's label."""

    def write(self, plural: str, body: dict[str, Any]) -> None:
        """A controller's own object: made, or its labels, annotations and the fields of its spec changed."""

    def scale(self, name: str, replicas: int) -> None:
        """An autoscaler's change of a Deployment, which leaves all else to its owner."""

    def write_status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        """By the status subresource; what `status` leaves out stays."""

    def remove(self, plural: str, name: str) -> None:
        """Delete one that is there."""
