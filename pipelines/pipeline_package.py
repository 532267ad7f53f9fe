"""A compiled pipeline as it is handed to Kubeflow: with an installation's own names, and its parameters' types."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from components.base import IMAGE
from pagoda.errors import ConfigError
from pipelines.compile import COMPILED
from pipelines.kubernetes_platform import (
    ELASTICSEARCH_SECRET,
    MILVUS_SECRET,
    MLFLOW_SECRET,
    QUEUE_LABEL,
    QUEUED,
    SETTINGS,
    SIGNING_SECRET,
    STORAGE_SECRET,
)

_READERS: dict[str, Callable[[str], Any]] = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": float,
    "BOOLEAN": lambda text: _json(text, bool),
    "LIST": lambda text: _json(text, list),
    "STRUCT": lambda text: _json(text, dict),
}


@dataclass(frozen=True, slots=True)
class Names:
    """What an installation calls what the compiled pipelines name."""

    image: str = IMAGE
    settings: str = SETTINGS
    """ConfigMap of the settings."""
    storage_secret: str = STORAGE_SECRET
    milvus_secret: str = MILVUS_SECRET
    elasticsearch_secret: str = ELASTICSEARCH_SECRET
    signing_secret: str = SIGNING_SECRET
    mlflow_secret: str = MLFLOW_SECRET
    queue: str = ""
    """Kueue's LocalQueue in which training waits; empty: in none."""

    def put_into(self, text: str) -> str:
        """`text` of a compiled pipeline with these names."""
        for placeholder, name in (
            (IMAGE, self.image),
            (SETTINGS, self.settings),
            (STORAGE_SECRET, self.storage_secret),
            (MILVUS_SECRET, self.milvus_secret),
            (ELASTICSEARCH_SECRET, self.elasticsearch_secret),
            (SIGNING_SECRET, self.signing_secret),
            (MLFLOW_SECRET, self.mlflow_secret),
        ):
            text = text.replace(f": {placeholder}\n", f": {name}\n")
        return _queued(text, self.queue) if self.queue else text


@dataclass(frozen=True, slots=True)
class Package:
    """One compiled pipeline."""

    name: str
    text: str
    """Pipeline spec and platform spec as YAML documents."""

    @classmethod
    def of(cls, name: str, names: Names | None = None) -> Package:
        """The compiled pipeline called `name`.

        Raises:
            ConfigError: There is none.
        """
        if name not in (known := available()):
            raise ConfigError(f"pipeline {name!r}: there is none of that name; there are {', '.join(known)}")
        return cls(name, (names or Names()).put_into((COMPILED / f"{name}.yaml").read_text()))

    @property
    def version(self) -> str:
        """Name of this version; the same content has the same name, so that it is uploaded once."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def description(self) -> str:
        """What the pipeline is for."""
        return str(self._spec["pipelineInfo"].get("description", ""))

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Type, default and description of each parameter."""
        found: dict[str, dict[str, Any]] = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return found

    def read_parameters(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Turn texts into values of the parameters' types.

        Raises:
            ConfigError: A parameter is unknown or not of its type.
        """
        if unknown := sorted(set(given) - set(self.parameters)):
            raise ConfigError(f"{self.name}: unknown parameter {unknown[0]!r}; there are {', '.join(self.parameters)}")
        return {name: self._read(name, text) for name, text in given.items()}

    def _read(self, name: str, text: str) -> Any:
        kind = self.parameters[name]["parameterType"]
        try:
            return _READERS[kind](text)
        except ValueError:
            raise ConfigError(f"{self.name}: parameter {name}={text!r} is no {kind}: {self._about(name)}") from None

    def _about(self, name: str) -> str:
        return str(self.parameters[name].get("description", ""))

    @property
    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = next(yaml.load_all(self.text, yaml.CSafeLoader))
        return spec


def _queued(text: str, queue: str) -> str:
    """`text` of a compiled pipeline whose training pods carry Kueue's label."""
    spec, platforms = yaml.load_all(text, yaml.CSafeLoader)
    executors = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    if QUEUED in executors:
        executors[QUEUED]["podMetadata"]["labels"][QUEUE_LABEL] = queue
    return yaml.dump_all([spec, platforms], Dumper=yaml.CSafeDumper)


def available() -> list[str]:
    """Names of the compiled pipelines."""
    return sorted(path.stem for path in COMPILED.glob("*.yaml"))


def _json(text: str, kind: type) -> Any:
    value = json.loads(text)
    if not isinstance(value, kind):
        raise ValueError(text)
    return value
