"""The history encoder that a configuration declares."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from pagoda.config.model import ModelConfig
from pagoda.model.history.base import ENCODERS, HistoryEncoder
from pagoda.model.history.seed import SeededHistory

# Importing a module registers its encoder, so one that is added is named nowhere else.
for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    import_module(f"{__package__}.{_module.name}")


def build_history(config: ModelConfig, length: int) -> HistoryEncoder:
    """The history encoder that is declared, for at most `length` events."""
    history = ENCODERS[type(config.history)](config.history, config.dim, length)
    return SeededHistory(history) if config.seed_item else history
