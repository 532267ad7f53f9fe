"""Windows of event time."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator

from pagoda.errors import ConfigError


class Window(BaseModel):
    """The half-open span of event time [start, end), in UTC with microseconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        if self.start >= self.end:
            raise ValueError(f"window start {self.start.isoformat()} must lie before its end {self.end.isoformat()}")
        return self

    @property
    def start_us(self) -> int:
        """Start in microseconds since the epoch."""
        return to_us(self.start)

    @property
    def end_us(self) -> int:
        """End in microseconds since the epoch."""
        return to_us(self.end)

    @property
    def key(self) -> str:
        """A name that is safe in paths and tags, and sorts by time: `19970920T000000Z-19980323T000000Z`.

        Microseconds appear only where they are not zero.
        """
        return f"{_stamp(self.start)}-{_stamp(self.end)}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch, exactly (float seconds would lose them)."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(microseconds: int) -> datetime:
    """The UTC moment `microseconds` after the epoch."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def parse_moment(text: str, name: str) -> datetime:
    """Read a moment that a person gave as `name`.

    Raises:
        ConfigError: It is no ISO 8601 moment with a zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{name} {text!r} is no ISO 8601 moment, like 1998-03-24T00:00:00+00:00") from error
    if moment.tzinfo is None:
        raise ConfigError(f"{name} {text!r} has no zone; write {text}+00:00 for UTC")
    return moment


def _stamp(moment: datetime) -> str:
    utc = moment.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}" if utc.microsecond else ""
    return utc.strftime("%Y%m%dT%H%M%S") + fraction + "Z"
