"""A second task for the item tower: the section `self_supervision` of the training file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from pagoda.config.model import Section, Share


class SelfSupervisionConfig(Section):
    """A second task for the item tower: to tell two views of an item from the views of others.

    It learns from all items alike, so the features of rare ones are learned too, where clicks say little.
    """

    weight: float = Field(default=0.1, gt=0)
    """Of its loss beside the objective's."""
    items: PositiveInt = 256
    """Drawn evenly from the catalogue for each batch."""
    temperature: PositiveFloat = 0.1
    views: Literal["correlated", "complementary", "mask"] = "correlated"
    """What is hidden of an item's ID and features. `correlated`: one of them, drawn at random, and those that it shares
    most information with, half of all; the other view hides the other half. `complementary`: halves at random. `mask`:
    each with probability `mask`, in each view by itself."""
    mask: Share = 0.3
    """For `mask` alone."""
    value_dropout: Share = 0.2
    """Of the values of multi-valued features, in each view by itself."""
