"""TLS of recall: who trusts the certificate is answered, nothing else is spoken, and a renewed one is shown."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from pagoda.errors import ConfigError
from serving.background import cancel
from serving.http import certificate as certificates
from serving.http.certificate import Certificate
from serving.http.connections import Limits
from serving.process import listen
from serving.recall.server import RecallServer
from tests.certificates import write_certificate
from tests.serving.callers import tokens
from tests.serving.recall.setting import Setting


@asynccontextmanager
async def recall(folder: Path) -> AsyncIterator[str]:
    setting = Setting()
    await setting.generations.refresh()
    listener = listen("127.0.0.1", 0)
    server = RecallServer(setting.recall, setting.generations, tokens())
    serving = asyncio.create_task(server.serve(listener, 0, Limits(100, 100), certificate=Certificate(folder)))
    yield f"localhost:{listener.getsockname()[1]}"
    await cancel(serving)


async def answered(place: str, authority: Path) -> int:
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=authority)) as client:
        return (await client.get(f"https://{place}/v2/health/live")).status_code


async def test_who_trusts_it_is_answered_and_others_hang_up(tmp_path: Path) -> None:
    authority, other = write_certificate(tmp_path / "own"), write_certificate(tmp_path / "other")
    async with recall(tmp_path / "own") as place:
        assert await answered(place, authority) == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await answered(place, other)


async def test_nobody_is_answered_without_tls(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    async with recall(tmp_path) as place, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://{place}/v2/health/live")


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "_READ_SECONDS", 0.01)
    write_certificate(tmp_path)
    async with recall(tmp_path) as place:
        renewed = write_certificate(tmp_path)
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await answered(place, renewed) == 200
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)


def test_a_key_of_another_certificate_is_refused_by_name(tmp_path: Path) -> None:
    write_certificate(tmp_path / "one")
    write_certificate(tmp_path / "two")
    (tmp_path / "one" / "tls.key").write_bytes((tmp_path / "two" / "tls.key").read_bytes())
    with pytest.raises(ConfigError, match=f"{tmp_path}/one"):
        Certificate(tmp_path / "one")
