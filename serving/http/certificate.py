"""What a server shows who calls it over TLS: `tls.crt` and `tls.key` of a folder, as a Secret of type kubernetes.io/tls
has them."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from pagoda.errors import ConfigError
from serving.background import every

CHAIN, KEY = "tls.crt", "tls.key"
_READ_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Certificate:
    """A certificate that is renewed while its server runs."""

    def __init__(self, folder: Path) -> None:
        """Read the folder.

        Raises:
            ConfigError: A file is missing, cannot be read, or does not belong to the other one.
        """
        self._folder = folder
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(self.context)
        self._state = self._look()

    async def follow(self) -> None:
        """Show new connections the new one when it has been renewed, until cancelled; a wrong one changes nothing."""
        await every(_READ_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        state = self._look()
        if state == self._state:
            return
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # A half-written pair must not spoil the old one.
            self._load(self.context)
        except ConfigError as error:
            _log.warning("the certificate stays as it was: %s", error)
        self._state = state

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._folder / CHAIN, self._folder / KEY)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(
                f"{self._folder}: no certificate and key of one another in {CHAIN} and {KEY} ({error})"
            ) from error

    def _look(self) -> tuple[float, ...]:
        return tuple(
            path.stat().st_mtime if path.exists() else 0.0 for path in (self._folder / CHAIN, self._folder / KEY)
        )
