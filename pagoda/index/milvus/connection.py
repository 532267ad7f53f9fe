"""One connection to Milvus, made when first needed, whose errors say which collection on which server."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from pymilvus import MilvusClient, MilvusException, connections

from pagoda.errors import DataError, IntegrityError, PagodaError, RequestError, UnavailableError
from pagoda.index.milvus.expression import is_unreadable

_COLLECTION_NOT_FOUND = 100
_INVALID_PARAMETER = 1100

# It logs every error with a traceback before raising it; the messages below say the same.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


class MilvusConnection:
    """A lazily opened client. A server that is down now may be up at the next call."""

    def __init__(self, uri: str, token: str, timeout_seconds: float) -> None:
        self.uri = uri
        self._token = token
        self._timeout = timeout_seconds
        self._client: MilvusClient | None = None
        self._lock = threading.Lock()

    @contextmanager
    def client(self, doing: str, collection: str) -> Iterator[MilvusClient]:
        """Lend the client for one call.

        Args:
            doing: The call in words, for messages: "search".
            collection: Physical name of the collection.

        Raises:
            UnavailableError: The server does not answer in time or cannot do it now.
            IntegrityError: The collection does not exist.
            DataError: It refused the rows.
            RequestError: It could not read the filter expression.
        """
        with self.errors(doing, collection):
            yield self._open()

    @contextmanager
    def errors(self, doing: str, collection: str) -> Iterator[None]:
        """Put what Milvus says into Pagoda's words; see `client`."""
        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            raise self._translated(error, doing, collection) from error

    @contextmanager
    def alias(self, timeout_seconds: float) -> Iterator[str]:
        """A connection of its own, by the name that pymilvus' `utility` calls take; closed at the end."""
        name = f"pagoda-{uuid.uuid4().hex}"
        connections.connect(name, uri=self.uri, token=self._token, timeout=timeout_seconds)
        try:
            yield name
        finally:
            connections.disconnect(name)

    def _open(self) -> MilvusClient:
        with self._lock:
            if self._client is None:
                self._client = MilvusClient(self.uri, token=self._token, timeout=self._timeout)
            return self._client

    def close(self) -> None:
        """Close the connection; a later call opens a new one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _translated(self, error: MilvusException | grpc.RpcError, doing: str, collection: str) -> PagodaError:
        where = f"{doing} of collection {collection!r} at {self.uri}"
        if isinstance(error, grpc.RpcError):
            return UnavailableError(f"{where}: Milvus does not answer ({error.code().name}); is it running?")
        message = str(error.message)
        if error.code == _COLLECTION_NOT_FOUND or "collection not found" in message:
            return IntegrityError(f"{where}: the collection does not exist")
        if is_unreadable(message):
            return RequestError(f"{where}: Milvus cannot read the filter: {message}")
        if error.code == _INVALID_PARAMETER:
            return DataError(f"{where}: Milvus refused it: {message}")
        return UnavailableError(f"{where}: {message}")
