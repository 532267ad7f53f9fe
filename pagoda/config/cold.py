"""What stands for what is not known yet of items and users, as declared in a training configuration."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from pagoda.config.model import Section


class ColdConfig(Section):
    """How the towers know items without an ID row (of no click yet, or newer than the version), and new users."""

    by: str
    """The categorical or multi-valued feature of items that says the category; of several values all count alike."""
    items: Literal["category_mean"] | None = None
    """`category_mean`: the mean of the rows of their category's items, drawn to the out-of-vocabulary row where these
    are few. None: the out-of-vocabulary row."""
    users: Literal["interests"] | None = None
    """`interests`: categories that users say they like, by the feature `interests`; for those who said none, training
    makes them of what they chose first. None: what users say is a feature like any other."""

    @model_validator(mode="after")
    def _for_something(self) -> Self:
        if self.items is None and self.users is None:
            raise ValueError("cold.by has no effect by itself; add items: category_mean, or users: interests, or both")
        return self
