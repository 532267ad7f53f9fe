"""What is printed, logged or answered holds no secret."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#\"']*@")
_BEARER = re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{8,}")
_SIGNATURE = re.compile(
    r"(?i)([?&](?:[\w-]*(?:signature|credential|token|password|passwd|pwd|secret)|sig)=)[^&\s'\")]+"
)
"""Of a URL that opens a file to whoever has it, as S3, Google's and Azure's stores give them."""


def masked(text: object) -> str:
    """A text, or what says itself as one, without the credentials and signatures of URLs in it and without tokens."""
    return _SIGNATURE.sub(r"\1***", _BEARER.sub(r"\1***", _CREDENTIALS.sub("***@", str(text))))
