"""The chart's MLflow: a password, and TLS by a certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient

from tests.certificates import write_certificate

from .server import Server


@pytest.mark.integration
def test_it_answers_by_tls_and_to_who_shows_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = write_certificate(tmp_path / "certificate")
    for name, value in {
        "SSL_CERT_FILE": str(authority),
        "REQUESTS_CA_BUNDLE": str(authority),
        "MLFLOW_TRACKING_USERNAME": "pagoda",
        "MLFLOW_TRACKING_PASSWORD": "of this test",
    }.items():
        monkeypatch.setenv(name, value)
    options = f"--ssl-certfile {authority} --ssl-keyfile {authority.with_name('tls.key')}"
    server = Server(tmp_path, "--app-name", "pagoda", "--uvicorn-opts", options, scheme="https", host="localhost")
    try:
        assert MlflowClient(server.uri).search_registered_models() == []
        with httpx.Client(verify=ssl.create_default_context(cafile=authority)) as client:
            refused = client.post(f"{server.uri}/api/2.0/mlflow/registered-models/create", json={"name": "theirs"})
        assert refused.status_code == 401
    finally:
        server.kill()
