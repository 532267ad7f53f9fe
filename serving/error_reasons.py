"""What may be written of an error into a log or an answer: never a value that somebody sent, or that is held of a user.

Clients of servers quote the command that failed, Arrow and Python the value that they could not read: user IDs, both.
"""

from __future__ import annotations

import re

from pagoda.errors import PagodaError, RequestError

_CODE = re.compile(r"(?:Command # \d+ .* of pipeline caused error: )?\W*([A-Z]{2,})\b", re.DOTALL)


def reason(error: BaseException) -> str:
    """One line about an error."""
    name = type(error).__name__
    if isinstance(error, RequestError):
        return name  # It quotes what was given, for the caller alone.
    if isinstance(error, PagodaError):
        return str(error)
    match type(error).__module__.split(".")[0]:
        case "redis":
            return _of_redis(error, name)
        case "aiokafka":  # Brokers and topics.
            return str(error) or name
    return str(error) or name if isinstance(error, OSError) else name


def _of_redis(error: BaseException, name: str) -> str:
    text = str(error)
    if name in ("ConnectionError", "TimeoutError", "BusyLoadingError"):
        return text or name  # Addresses and states; no command was read.
    code = _CODE.match(text)
    return f"{name} {code[1]}" if code else name


def field_of(error: RequestError) -> str:
    """Which field a refusal is about, without what was in it."""
    return str(error).partition(":")[0][:100]
