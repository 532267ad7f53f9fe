"""`curl -K HOME/curl/ROLE`: what curl needs to call with a role's token, and nothing on its command line."""

from __future__ import annotations

from pathlib import Path

from pagoda.access.roles import ROLES
from pagoda.access.secret_files import write_secret
from pagoda.access.tokens import token_of


def write_curl_files(tokens: Path, folder: Path) -> None:
    """A file for each role that has a token."""
    for role in ROLES:
        token = token_of(tokens, role)
        if token:
            lines = (f'header = "Authorization: Bearer {token}"', 'header = "Content-Type: application/json"')
            write_secret(folder / role, "\n".join(lines))
