"""The arms: which generation answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

Arm = Literal["stable", "canary"]
ARMS: tuple[Arm, ...] = ("stable", "canary")


class Arms(BaseModel):
    """Which generation answers each arm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stable: str | None = None
    canary: str | None = None

    @property
    def serving(self) -> tuple[str, ...]:
        """The generations that answer requests."""
        return tuple(dict.fromkeys(id_ for id_ in (self.stable, self.canary) if id_))

    def of(self, arm: Arm) -> str | None:
        """The generation of one arm."""
        return self.stable if arm == "stable" else self.canary


@dataclass(frozen=True, slots=True)
class ArmsChange:
    """One change of the arms."""

    number: int
    """Of the record that changed them."""
    at: datetime
    arms: Arms
    reason: str
