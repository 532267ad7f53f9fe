"""A certificate authority of your own: what the chart sets is what our clients look at."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.certificates import write_certificate
from tests.helm.charts import composed, given

AUTHORITY = {"caBundle": {"configMap": "corporate-ca"}}
CLIENTS = {
    "httpx": "import httpx; httpx.get('https://localhost:PORT', timeout=5)",
    "requests, of MLflow and traces": "import requests; requests.get('https://localhost:PORT', timeout=5)",
    "boto3": "import boto3; boto3.client('s3', endpoint_url='https://localhost:PORT').list_buckets()",
    "s3fs": "import fsspec; fsspec.filesystem('s3', endpoint_url='https://localhost:PORT').ls('bucket')",
    "Redis": "from redis import Redis; Redis.from_url('rediss://localhost:PORT').ping()",
    "Kafka": "import socket; from aiokafka.helpers import create_ssl_context; "
    "create_ssl_context().wrap_socket(socket.create_connection(('localhost', PORT)), server_hostname='localhost')",
    "Milvus": "from pymilvus import MilvusClient; MilvusClient('https://localhost:PORT', timeout=3)",
    "Kubeflow": "from pipelines.kubeflow import Kubeflow; Kubeflow('https://localhost:PORT')",
}
"""A call of each client that Pagoda has; the server's answer is nonsense to it."""


@dataclass
class Server:
    """Shakes hands over TLS with whoever trusts its certificate, says goodbye, and keeps who did."""

    context: ssl.SSLContext
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    trusted: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(5)
            try:
                with self.context.wrap_socket(connection, server_side=True):
                    self.trusted.set()
            except OSError:
                connection.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("tls.key"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = Server(context)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.listener.close()


def _variables(file: Path) -> dict[str, str]:
    """What the chart sets in recall's pod, with `file` in the place of the mounted one."""
    (container,) = dict(composed(given(AUTHORITY)))["Deployment/pagoda-recall"]["spec"]["containers"]
    mount = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == "ca-bundle")
    values = {one["name"]: one.get("value", "") for one in container["env"]}
    return {name: str(file) for name, value in values.items() if value == f"{mount}/ca.crt"}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("told", [True, False])
def test_should_make_each_client_trust_the_authority(client: str, told: bool, server: Server, authority: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "r", "AWS_MAX_ATTEMPTS": "1"}
    environment = {**os.environ, **keys, **(_variables(authority) if told else {})}
    call = [sys.executable, "-c", CLIENTS[client].replace("PORT", str(server.port))]
    subprocess.run(call, env=environment, capture_output=True, check=False, timeout=60)
    assert server.trusted.is_set() is told


def test_should_mount_the_bundle_into_every_container_of_ours() -> None:
    for name, pod in composed(given({"caBundle": {"configMap": "corporate-ca", "key": "bundle.pem"}})):
        assert {"name": "ca-bundle", "configMap": {"name": "corporate-ca"}} in pod["spec"]["volumes"], name
        for container in pod["spec"]["containers"]:
            assert {"name": "SSL_CERT_FILE", "value": "/etc/pagoda/ca/bundle.pem"} in container["env"], name
            assert "ca-bundle" in {mount["name"] for mount in container["volumeMounts"]}, name


def test_should_tell_kserves_initializer_of_it_by_the_secret_that_the_chart_makes() -> None:
    keys = {"credentials": {"accessKeyId": "a", "secretAccessKey": "b"}}
    secret = given({**AUTHORITY, "objectStorage": keys}).one("Secret", "pagoda-object-storage")
    annotations = secret["metadata"]["annotations"]
    assert annotations["serving.kserve.io/s3-cabundle-configmap"] == "corporate-ca"
    assert annotations["serving.kserve.io/s3-cabundle"] == "/etc/pagoda/ca/ca.crt"
