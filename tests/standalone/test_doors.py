"""What another user of the machine gets from the embedded platform: nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import redis
from mlflow import MlflowClient
from pymilvus import MilvusClient, MilvusException

from pagoda.standalone.platform import Platform

pytestmark = pytest.mark.integration
_NO_CONNECTION = 7
"""What curl ends with."""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "home")
    yield platform
    platform.down()


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another user."""
    if os.getuid():
        pytest.skip("only root may run something as another user")
    words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_redis_has_no_port_and_lets_nobody_else_in(mine: Platform) -> None:
    settings = mine.up(["redis"], attached=True)
    (pid,) = (status.pid for status in mine.status() if status.name == "redis")
    assert f"pid={pid}," not in subprocess.run(["ss", "-ltnp"], capture_output=True, text=True, check=True).stdout
    path = settings.redis.url.removeprefix("unix://").partition("?")[0]
    assert Path(path).stat().st_mode & 0o777 == 0o600
    done = as_nobody("curl", "-sS", "--unix-socket", path, "http://redis")
    assert done.returncode == _NO_CONNECTION, done


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "dir", "/tmp"),  # noqa: S108
        ("CONFIG", "GET", "*"),
        ("SAVE",),
        ("BGSAVE",),
        ("MODULE", "LIST"),
        ("DEBUG", "SLEEP", "0"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("SLAVEOF", "127.0.0.1", "1"),
        ("SHUTDOWN",),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("ACL", "LIST"),
        ("EVAL", "return redis.call('CONFIG', 'GET', '*')", "0"),
    ],
)
def test_redis_refuses_what_our_own_code_never_says(redis_url: str, command: tuple[str, ...]) -> None:
    with redis.Redis.from_url(redis_url) as client, pytest.raises(redis.ResponseError, match=r"permission|not allowed"):
        client.execute_command(*command)


def test_milvus_knows_no_password_but_ours(mine: Platform) -> None:
    settings = mine.up(["milvus"], attached=True)
    address = f"http://{settings.milvus.uri.rpartition('@')[2]}"
    for user, password in (("", ""), ("root", "Milvus"), ("root", "root")):
        with pytest.raises((MilvusException, grpc.RpcError)):
            MilvusClient(address, user=user, password=password, timeout=5).list_collections()
    assert MilvusClient(settings.milvus.uri, timeout=5).list_collections() == []
    mine.down()
    assert mine.up(["milvus"], attached=True).milvus.uri == settings.milvus.uri
    assert MilvusClient(settings.milvus.uri, timeout=5).list_collections() == []


def test_mlflow_opens_to_its_password_alone(mine: Platform) -> None:
    settings = mine.up(["mlflow"], attached=True)
    address = mine.url("mlflow")
    assert settings.registry.uri != address
    delete = ("-X", "DELETE", f"{address}/api/2.0/mlflow/registered-models/delete", "-d", '{"name": "recall"}')
    for command in (delete, (address,), ("-u", "admin:password", address), ("-H", "Host: evil.example", address)):
        assert as_nobody("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *command).stdout in ("401", "403")
    MlflowClient(settings.registry.uri).create_registered_model("recall")
    opened = httpx.get(mine.url("mlflow", opening=True), trust_env=False)
    assert (opened.status_code, opened.headers["location"]) == (303, f"{address}/")
