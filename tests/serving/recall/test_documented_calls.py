"""The curl commands of README and docs do what they say, as they are printed."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pagoda.access.curl_files import write_curl_files
from pagoda.access.tokens import Tokens, make_tokens
from pagoda.item_changes.log import ItemLog
from serving.events.intake import EventIntake
from serving.events.item_changes import ItemIntake, items_router
from serving.events.redis_stream import RedisStream
from serving.events.routes import events_router
from serving.events.stable_spec import StableSpec
from serving.http.connections import Limits
from serving.recall.app import build_items_app
from serving.recall.channels.text import TextChannel
from serving.recall.request.service import Recall
from serving.recall.server import RecallServer
from serving.recall.similar.routes import similar_router
from serving.recall.similar.service import SimilarService
from tests.serving.fakes import FakeText
from tests.serving.worlds import make_spec

from .setting import Setting

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [(page.name, line) for page in PAGES for line in re.findall(r"^\$ (curl .*)$", page.read_text(), re.M)]


async def serve(descriptor: int, home: Path, id_type: str, redis_url: str) -> None:
    """A service over stand-ins, but for the door, the stream and the item log."""
    setting = Setting(make_spec(id_type).model_copy(update={"title": "title"}))
    words = {"texts": ("title",), "backend": "in_process"}
    setting.log.manifests = [one.model_copy(update=words) for one in setting.log.manifests]
    setting.log.try_out(30)
    parts = replace(setting.parts, text=TextChannel(FakeText((1, 2.0))))
    recall = Recall(parts, setting.generations, setting.ledger, canary_seconds=5)
    await setting.follow()
    specs, tokens, hosts = StableSpec(setting.generations.releases), Tokens(home / "tokens"), ["127.0.0.1"]
    events = events_router(EventIntake(RedisStream(redis_url, length=1000), specs))
    items = items_router(ItemIntake(ItemLog(str(home / "items")), specs))
    setting.index.held = {50: [1.0, 0.0]}
    similar = similar_router(SimilarService(setting.generations, setting.index, parts.tables, parts.item_values))
    server = RecallServer(recall, setting.generations, tokens, [similar, events], hosts)
    with socket.create_server(("127.0.0.1", 0)) as own, socket.socket(fileno=descriptor) as listener:
        print(own.getsockname()[1], flush=True)  # noqa: T201
        others = {own: build_items_app([items], tokens, hosts)}
        await server.serve(listener, 0, Limits(100, 100), others)


@contextmanager
def service(home: Path, id_type: str, redis_url: str) -> Iterator[tuple[str, str]]:
    """Its addresses: for recall and events, and for items."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = [str(listener.fileno()), str(home), id_type, redis_url]
        command = [sys.executable, "-m", "tests.serving.recall.test_documented_calls", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listener.fileno()], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        items = int(process.stdout.readline())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", f"http://127.0.0.1:{items}"
        process.kill()
        process.wait()


@pytest.mark.integration
def test_what_is_printed_is_answered(tmp_path: Path, redis_url: str) -> None:
    assert {name for name, _ in COMMANDS} >= {"README.md", "events.md", "items.md", "rollout.md"}
    home = tmp_path / ".pagoda"
    make_tokens(home / "tokens")
    write_curl_files(home / "tokens", home / "curl")
    with service(home, "int64", redis_url) as numbers, service(home, "string", redis_url) as names:
        for page, command in COMMANDS:
            recall, items = names if '"ann"' in command else numbers
            environment = {"PATH": "/usr/bin:/bin", "PAGODA_HOME": str(home), "RECALL": recall, "ITEMS": items}
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, check=True
            )
            answer = json.loads(done.stdout)
            assert answer and "error" not in answer, (page, command, answer)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
