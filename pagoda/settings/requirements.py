"""Which addresses the parts that serve need; what runs in the recall process itself has none."""

from __future__ import annotations

from typing import Literal

from pagoda.errors import ConfigError
from pagoda.settings.tree import Settings

Part = Literal["store", "tower", "index"]


def lacking(settings: Settings, *parts: Part) -> list[str]:
    """The settings that would say where these parts are, and are empty."""
    index = {
        "milvus": ("milvus.uri", settings.milvus.uri),
        "elasticsearch": ("elasticsearch.url", settings.elasticsearch.url),
        "in_process": ("index", True),
    }
    needed = {
        "store": ("redis.url", settings.redis.url),
        "tower": ("tower.url", settings.tower.url or settings.tower.runtime == "in_process"),
        "index": index[settings.index.backend],
    }
    return [key for key, there in (needed[part] for part in parts) if not there]


def require_parts(settings: Settings, who: str, *parts: Part) -> None:
    """Refuse settings that leave out where a part is.

    Args:
        settings: Of the installation.
        who: Needs them, for the message.
        parts: What is needed.

    Raises:
        ConfigError: One is not said.
    """
    if missing := lacking(settings, *parts):
        raise ConfigError(f"{who}: set {', '.join(missing)} (`pagoda up` does, in {settings.home}/endpoints.yaml)")
