"""The caller of the tests: one token with every role."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pagoda.access.roles import ROLES
from pagoda.access.secret_files import write_secret
from pagoda.access.tokens import Tokens

TOKEN = "the-token-of-the-tests-of-43-characters-long"  # noqa: S105
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def give_token(folder: Path) -> None:
    """Make it the token of every role in a folder."""
    for role in ROLES:
        write_secret(folder / role, TOKEN)


def tokens() -> Tokens:
    """A door that it opens."""
    with tempfile.TemporaryDirectory() as folder:
        give_token(Path(folder))
        return Tokens(Path(folder))
