"""A server of Milvus' protocol that keeps what it is told and does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from pymilvus.grpc_gen import milvus_pb2 as messages


class RecordingMilvus(grpc.GenericRpcHandler):  # type: ignore[misc] - grpc has no types
    """Says that it is of some version, and finds the items 5 and 3."""

    def __init__(self, version: str) -> None:
        self.uri, self.told = "", dict[str, list[Any]]()
        """Its address, and the requests by call."""
        self._answers: dict[str, Any] = {
            "Connect": messages.ConnectResponse(identifier=1),
            "GetVersion": messages.GetVersionResponse(version=version),
            "CreateCollection": messages.common__pb2.Status(),
            "DescribeCollection": messages.DescribeCollectionResponse(),
            "CreateIndex": messages.common__pb2.Status(),
            "Insert": messages.MutationResult(),
            "Upsert": messages.MutationResult(),
            "Search": messages.SearchResults(),
        }
        found = self._answers["Search"].results
        found.topks.append(2)
        found.scores.extend([1.5, 0.5])
        found.ids.int_id.data.extend([5, 3])

    def service(self, details: Any) -> Any:
        """How a call is answered."""
        call = details.method.rpartition("/")[2]

        def answer(request: Any, _: Any) -> Any:
            self.told.setdefault(call, []).append(request)
            if call == "CreateCollection":
                self._answers["DescribeCollection"].schema.ParseFromString(request.schema)
            return self._answers[call]

        read = getattr(messages, f"{call}Request").FromString
        return grpc.unary_unary_rpc_method_handler(answer, read, lambda message: message.SerializeToString())


@contextmanager
def recording(version: str) -> Iterator[RecordingMilvus]:
    """One that runs, at its `uri`."""
    recorder, server = RecordingMilvus(version), grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([recorder])
    recorder.uri = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield recorder
    server.stop(None)
