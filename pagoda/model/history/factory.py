"""The history encoder that a configuration declares."""

from __future__ import annotations

from pagoda.config.model import DecayPooling, Gru, MeanPooling, ModelConfig, Transformer
from pagoda.model.history.pooling import DecayHistory, HistoryEncoder, MeanHistory, SeededHistory
from pagoda.model.history.sequence_encoders import GruHistory, TransformerHistory


def build_history(config: ModelConfig, length: int) -> HistoryEncoder:
    """The history encoder that is declared, for at most `length` events."""
    history = _declared(config, length)
    return SeededHistory(history) if config.seed_item else history


def _declared(config: ModelConfig, length: int) -> HistoryEncoder:
    match config.history:
        case MeanPooling():
            return MeanHistory()
        case DecayPooling(half_lives_seconds=half_lives):
            return DecayHistory(half_lives)
        case Gru() as declared:
            return GruHistory(declared, config.dim)
        case Transformer() as declared:
            return TransformerHistory(declared, config.dim, length)
