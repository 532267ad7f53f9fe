"""Logs as lines of text for people, or of JSON for machines, each with the trace, arm and generation it belongs to."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

import orjson

from pagoda.masking import masked
from serving.blocks import Within
from serving.error_reasons import reason
from serving.tracing import trace_id

_CAUSES = 8
"""Of one exception that are shown."""
_about: ContextVar[Mapping[str, str]] = ContextVar("_about", default=MappingProxyType({}))


class Discreet(logging.Formatter):
    """Lines that name an error's kind and place, and never what it says: that may be a user's ID or profile."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The frames of an exception and of those that it came from, the first cause first."""
        parts: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None and len(parts) < _CAUSES:
            frames = "".join(traceback.format_tb(error.__traceback__))
            parts.append(f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {reason(error)}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n\nwhich led to\n\n".join(reversed(parts))


class JsonLines(Discreet):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        if found := trace_id():
            line["trace_id"] = found
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return masked(orjson.dumps(line, default=str).decode())


class TextLines(Discreet):
    """A line of text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; what libraries say of a URL holds its password."""
        return masked(super().format(record))


def about(**fields: str) -> Within[Mapping[str, str]]:
    """What is logged within the block is about these."""
    return Within(_about, {**_about.get(), **fields})


def start(kind: Literal["text", "json"]) -> None:
    """Log from INFO on to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if kind == "json" else TextLines("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("botocore").setLevel(logging.WARNING)  # It would tell where it found credentials.
