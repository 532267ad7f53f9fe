"""The one error hierarchy. A message names the thing, the value, what was expected, and what to do."""

from __future__ import annotations

from pydantic import ValidationError

from pagoda.masking import masked


class PagodaError(Exception):
    """Base of everything Pagoda raises on purpose; the CLI prints it without a traceback and exits non-zero.

    Its message holds no secret, whatever it was made of: it is printed, logged, and kept in records.
    """

    def __init__(self, *args: object, part: str = "") -> None:
        """Make one; `part` is what a caller of a service may know of a failure that is not theirs."""
        super().__init__(*(masked(one) if isinstance(one, str) else one for one in args))
        self.part = part


class ConfigError(PagodaError):
    """A setting is unknown, contradictory or out of range."""


class DataError(PagodaError):
    """A dataset breaks its contract."""


class NothingToAskError(DataError):
    """A window holds no positive that a version could be measured on."""


class IntegrityError(PagodaError):
    """A stored artifact is missing, truncated, or not what its checksum says."""


class ConflictError(PagodaError):
    """Another writer got there first; nothing was changed. Read the state again and decide anew."""


class GateError(PagodaError):
    """A measured condition was not met, so the step stopped before changing anything."""


class UnavailableError(PagodaError):
    """A server or a port that is needed does not answer."""


class RequestError(PagodaError):
    """A request is malformed; the message names the field, the value and what was expected."""


class NotHeldError(PagodaError):
    """A server was asked for a generation that it does not hold."""


class NotHereYetError(NotHeldError):
    """What follows the release log has not brought a generation to this host yet."""


def explain(error: ValidationError, where: str) -> str:
    """One line for each thing pydantic found wrong: where, which key, what was given."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"]) or "(top)"
        given = "" if problem["type"] in ("missing", "value_error") else f" (got {problem['input']!r})"
        lines.append(f"{where}: {place}: {problem['msg'].removeprefix('Value error, ')}{given}")
    return "\n".join(lines)
