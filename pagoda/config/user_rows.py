"""How many ID rows users have, where they are too many for a row each, as declared in a training configuration."""

from __future__ import annotations

from typing import Self

from pydantic import NonNegativeInt, PositiveInt, model_validator

from pagoda.config.model import Section


class UserRowsConfig(Section):
    """Rows of one user each, for those who do most, and rows that all others share."""

    own: PositiveInt
    """Most rows of one user each. A full update gives those that are free to who did most in its window; they keep them
    until `retire_after_days`."""
    shared: NonNegativeInt = 0
    """Rows of which every other user has the sum of two, by hash, who is new included. 0: they have the
    out-of-vocabulary row, which found more where histories or features are known, see docs/training.md."""

    @model_validator(mode="after")
    def _two_at_least(self) -> Self:
        if self.shared == 1:
            raise ValueError("shared is 1, but users share the sums of two rows; set 0, or 2 at least")
        return self
