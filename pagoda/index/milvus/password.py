"""The password of a Milvus server that was never used."""

from __future__ import annotations

from pymilvus import MilvusClient, MilvusException
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from pagoda.errors import UnavailableError

_SECONDS = 10.0


def replace_password(address: str, user: str, first: str, password: str) -> None:
    """Change a server's first password, unless that was done before.

    Args:
        address: Of the server, without a password.
        user: Who alone shall be known there.
        first: What a server that was never used knows.
        password: Of this installation.

    Raises:
        UnavailableError: Somebody else has changed it, or has made a user: then nothing there can be trusted.
    """
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(MilvusException), stop=stop_after_delay(_SECONDS), reraise=True
        ):
            with attempt:
                client = _opened(address, user, first, password)
        others = sorted(set(client.list_users()) - {user})
        client.close()
    except MilvusException as error:
        raise UnavailableError(
            f"Milvus takes neither its first password nor that of this installation ({error.message}): somebody else "
            "has changed it; stop it, remove its folder and build the collections anew"
        ) from error
    if others:
        raise UnavailableError(f"Milvus knows users that this installation has not made: {', '.join(others)}")


def _opened(address: str, user: str, first: str, password: str) -> MilvusClient:
    try:
        return MilvusClient(address, user=user, password=password, timeout=_SECONDS)
    except MilvusException:
        client = MilvusClient(address, user=user, password=first, timeout=_SECONDS)
        client.update_password(user, first, password)
        client.close()
        return MilvusClient(address, user=user, password=password, timeout=_SECONDS)
