"""What sections of the settings are made of."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict


class SettingsSection(BaseModel):
    """A part of the settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def one_of(*schemes: str) -> AfterValidator:
    """A URL of one of the schemes, or empty. The message does not repeat it: it may hold a password."""

    def check(url: str) -> str:
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises where it is no number
            known = not url or parts.scheme in schemes
        except ValueError:
            known = False
        if not known:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}; a port is a number")
        return url

    return AfterValidator(check)


HttpUrl = Annotated[str, one_of("http", "https")]
