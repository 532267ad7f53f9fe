"""The registry that the settings name."""

from __future__ import annotations

from pagoda.generations.release_log import open_log
from pagoda.registry.base import Registry
from pagoda.registry.folder_registry import FolderRegistry
from pagoda.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """The registry of this installation: an MLflow server when one is configured, else a folder below home."""
    log = open_log(settings)
    if settings.registry.uri:
        # Not at the top: it brings an HTTP client. The driver, which lives long, calls this in processes that do not.
        from pagoda.registry.mlflow_registry import MlflowRegistry

        return MlflowRegistry(settings.registry.uri, settings.registry.model, log)
    return FolderRegistry(settings.home / "versions", log)
