"""What is printed, logged or answered holds no secret."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#\"']*@")
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{8,}")


def masked(text: object) -> str:
    """A text, or what says itself as one, without the credentials of the URLs in it and without tokens."""
    return _BEARER.sub(r"\1***", _CREDENTIALS.sub("***@", str(text)))
