"""Where a client's calls go, and what it shows there: as it is told, else as the environment and the home have it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from pagoda.access.roles import Role
from pagoda.access.tokens import bearer, token_for, url_for
from pagoda.client.calls import Call
from pagoda.errors import ConfigError
from pagoda.settings import Settings, load_settings

TOKEN_VARIABLE = "PAGODA_TOKEN"  # noqa: S105
_IDLE_SECONDS = 4.0
"""The service closes a connection that is idle for five: whoever sends at that moment cannot know what became of it."""
Verify = str | Path | ssl.SSLContext | None
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=_IDLE_SECONDS)


@dataclass
class Destinations:
    """Addresses and tokens of one installation."""

    url: str = ""
    """Of recall and events. Empty: `recall.url` of the settings."""
    items_url: str = ""
    """Of item changes. Empty: `items.url` of the settings."""
    token: str = field(default="", repr=False)
    """For every role. Empty: `PAGODA_TOKEN`; without it, the home's, if these are its addresses."""
    home: Path | None = None
    """Default: `PAGODA_HOME`, else `.pagoda`."""

    @cached_property
    def _settings(self) -> Settings:
        return load_settings(self.home)

    def base(self, role: Role) -> str:
        """The base URL of what needs this role.

        Raises:
            ConfigError: None is known.
        """
        argument, key = ("items_url", "items.url") if role == "items" else ("url", "recall.url")
        known = self._given(role) or url_for(self._settings, role)
        if not known:
            variable = f"PAGODA_{key.replace('.', '__').upper()}"
            raise ConfigError(
                f"client: no address is known; pass {argument}=…, or set {variable}, or PAGODA_HOME to the home of an "
                "installation on this machine"
            )
        return known.rstrip("/")

    def headers(self, call: Call[Any]) -> Mapping[str, str]:
        """What is sent beside a body.

        Raises:
            ConfigError: The home's token cannot be read.
        """
        return {"Content-Type": "application/json", **bearer(self._token(call.role)), **call.headers}

    def _token(self, role: Role) -> str:
        # Read for each call: who changes tokens restarts nobody.
        shown = self.token or os.environ.get(TOKEN_VARIABLE, "")
        return shown or token_for(self._settings, role, self._given(role))

    def _given(self, role: Role) -> str:
        return self.items_url if role == "items" else self.url


def http_options(timeout: float, verify: Verify) -> dict[str, Any]:
    """What httpx's clients are made with."""
    return {"timeout": timeout, "limits": _LIMITS, **({} if verify is None else {"verify": _trust(verify)})}


def _trust(verify: str | Path | ssl.SSLContext) -> ssl.SSLContext:
    if isinstance(verify, ssl.SSLContext):
        return verify
    path = Path(verify)
    try:
        folder, file = (path, None) if path.is_dir() else (None, path)
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"verify {str(path)!r}: no certificates of an authority, in PEM ({error.strerror or error})"
        ) from error
