"""The registry that the settings name."""

from __future__ import annotations

from pagoda.registry.folder import FolderRegistry
from pagoda.registry.log import open_log
from pagoda.registry.mlflow import MlflowRegistry
from pagoda.registry.versions import Registry
from pagoda.settings import Settings


def open_registry(settings: Settings) -> Registry:
    """The registry of this installation: an MLflow server when one is configured, else a folder below home."""
    log = open_log(settings)
    if settings.registry.uri:
        return MlflowRegistry(settings.registry.uri, settings.registry.model, log)
    return FolderRegistry(settings.home / "versions", log)
