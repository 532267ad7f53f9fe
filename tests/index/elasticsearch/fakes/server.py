"""A server that answers as Elasticsearch's and OpenSearch's documentation says, to the requests of the adapter.

Paths and answers: https://www.elastic.co/docs/api/doc/elasticsearch and https://docs.opensearch.org/latest/api-reference,
both of which `tests/index/elasticsearch/test_specification.py` holds it to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from tests.index.elasticsearch.fakes.indices import FakeIndex, RefusedError

_SHARDS = {"total": 1, "successful": 1, "skipped": 0, "failed": 0}
_ACKNOWLEDGED = {"acknowledged": True}


@dataclass(frozen=True)
class Exchange:
    """A request and its answer."""

    method: str
    path: str
    params: dict[str, str]
    body: Any
    """JSON, a list of it where lines were sent, or None."""
    status: int
    answer: Any


class FakeSearchServer:
    """Indices, and every exchange of which a test may want to know."""

    def __init__(self, authorization: str = "") -> None:
        self.url, self._authorization = "", authorization
        self.indices: dict[str, FakeIndex] = {}
        self.exchanges: list[Exchange] = []
        self.busy = 0
        """So many calls of `_bulk` from now on get 429."""
        self.lock = Lock()

    def answer(self, method: str, target: str, authorization: str | None, content: bytes) -> tuple[int, Any]:
        """Status and body."""
        parts = urlsplit(target)
        lines = "_bulk" in parts.path or "_msearch" in parts.path
        body = [orjson.loads(line) for line in content.splitlines()] if lines else orjson.loads(content or b"null")
        try:
            if self._authorization not in ("", authorization):
                raise RefusedError("security_exception", "missing authentication credentials", 401)
            if lines and not content.endswith(b"\n"):
                raise RefusedError("illegal_argument_exception", "the request must be terminated by a newline [\\n]")
            status, said = 200, self._route(method, parts.path)(body)
        except RefusedError as error:
            status, said = error.status, error.body
        self.exchanges.append(Exchange(method, parts.path, dict(parse_qsl(parts.query)), body, status, said))
        return status, said

    def _route(self, method: str, path: str) -> Callable[[Any], Any]:
        if (method, path) == ("GET", "/_mapping"):
            return lambda _: {name: {"mappings": index.mappings} for name, index in self.indices.items()}
        found = re.fullmatch(r"/([a-z0-9][a-z0-9_]*)(?:/(_\w+))?", path)
        if not found:
            raise RefusedError("invalid_index_name_exception", f"invalid index name [{path}]")
        name, what = found[1], found[2] or ""
        routes: dict[tuple[str, str], Callable[[str, Any], Any]] = {
            ("PUT", ""): self._create,
            ("HEAD", ""): lambda name, _: self._index(name) and None,
            ("DELETE", ""): self._delete,
            ("GET", "_mapping"): lambda name, _: {name: {"mappings": self._index(name).mappings}},
            ("PUT", "_mapping"): lambda name, body: self._index(name).mappings.update(body) or _ACKNOWLEDGED,
            ("PUT", "_settings"): lambda name, body: self._index(name).settings.update(body["index"]) or _ACKNOWLEDGED,
            ("POST", "_bulk"): self._bulk,
            ("POST", "_refresh"): lambda name, _: self._index(name).refresh() or {"_shards": _SHARDS},
            ("POST", "_forcemerge"): self._merge,
            ("GET", "_count"): self._count,
            ("POST", "_msearch"): self._searches,
        }
        if (method, what) not in routes:
            raise RefusedError("illegal_argument_exception", f"no handler found for [{method} {path}]")
        return lambda body: routes[method, what](name, body)

    def _index(self, name: str) -> FakeIndex:
        if name not in self.indices:
            raise RefusedError("index_not_found_exception", f"no such index [{name}]", 404)
        return self.indices[name]

    def _create(self, name: str, body: Any) -> Any:
        if name in self.indices:
            raise RefusedError("resource_already_exists_exception", f"index [{name}] already exists")
        self.indices[name] = FakeIndex(dict(body["mappings"]), dict(body["settings"]["index"]))
        return {**_ACKNOWLEDGED, "shards_acknowledged": True, "index": name}

    def _delete(self, name: str, _: Any) -> Any:
        self._index(name)
        del self.indices[name]
        return _ACKNOWLEDGED

    def _merge(self, name: str, _: Any) -> Any:
        self._index(name).segments = 1
        return {"_shards": _SHARDS}

    def _count(self, name: str, _: Any) -> Any:
        index = self._index(name)
        index.look()
        return {"count": len(index.seen), "_shards": _SHARDS}

    def _bulk(self, name: str, lines: list[Any]) -> Any:
        if self.busy:
            self.busy -= 1
            raise RefusedError("es_rejected_execution_exception", "rejected execution", 429)
        # As by default (action.auto_create_index), an index that is not there is made, whatever it is to hold.
        index = self.indices.setdefault(name, FakeIndex({"properties": {}}, {}))
        items, todo = [], iter(lines)
        for line in todo:
            ((action, target),) = line.items()
            told = {"_index": name, "_id": target["_id"]}
            try:
                if action == "delete":
                    there = index.written.pop(target["_id"], None) is not None
                    told |= {"status": 200 if there else 404, "result": "deleted" if there else "not_found"}
                else:
                    told |= {"status": 200, "result": index.put(target["_id"], next(todo))}
            except RefusedError as error:
                told |= error.body
            items.append({action: told})
        return {"took": 1, "errors": any("error" in told for item in items for told in item.values()), "items": items}

    def _searches(self, name: str, lines: list[Any]) -> Any:
        index, responses = self._index(name), []
        for body in lines[1::2]:
            try:
                responses.append(index.search(body))
            except RefusedError as error:
                responses.append(error.body)
        return {"took": 1, "responses": responses}


@contextmanager
def running(authorization: str = "") -> Iterator[FakeSearchServer]:
    """A fake at a port of its own, until the block ends; where a header is named, whoever asks must send it."""
    fake = FakeSearchServer(authorization)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with fake.lock:
                status, said = fake.answer(self.command, self.path, self.headers.get("Authorization"), content)
            sent = b"" if self.command == "HEAD" else orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    server.server_close()
