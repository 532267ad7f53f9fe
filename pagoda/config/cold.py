"""What stands for an item that has no ID row of its own, as declared in a training configuration."""

from __future__ import annotations

from typing import Literal

from pagoda.config.model import Section


class ColdConfig(Section):
    """How the item tower knows items without an ID row: of no click yet, or newer than the version."""

    items: Literal["category_mean"] = "category_mean"
    """The mean of the rows of their category's items, drawn to the out-of-vocabulary row where these are few."""
    by: str
    """The categorical or multi-valued feature of items that says the category; of several values all count alike."""
