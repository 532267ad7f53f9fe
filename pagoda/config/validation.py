"""What is held back between epochs: the section `validation` of the training file."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from pagoda.config.model import Section

MetricName = Literal["recall@10", "recall@50", "recall@100", "ndcg@10", "ndcg@50"]


class ValidationConfig(Section):
    """The end of the window is held back, and decides how many epochs are learned. The version's window ends where
    what is held back begins, so the next update learns it."""

    hours: PositiveFloat
    """Of event time that are held back."""
    metric: MetricName = "ndcg@10"
    rows: PositiveInt = 5_000
    """Most positives to ask; of more, this many are drawn."""
