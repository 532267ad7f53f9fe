"""Where state is kept: the registry and its log, tokens, vectors, users, events."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from pagoda.settings.section import HttpUrl, SettingsSection, one_of

_KEY_CHARACTERS = 32


def _long(key: str) -> str:
    if 0 < len(key) < _KEY_CHARACTERS:
        raise ValueError(f"must have {_KEY_CHARACTERS} characters or more; `openssl rand -hex 32` makes one")
    return key


class RegistrySettings(SettingsSection):
    """The model registry and the release log."""

    uri: str = ""
    """MLflow tracking URI. Empty: versions are kept in a folder below home, without a server."""
    model: str = "recall"
    """Name of the registered model."""
    log: str = ""
    """Folder or object-store URL of the release log. Empty: `log/` below home."""
    signing_key: Annotated[str, AfterValidator(_long)] = Field(default="", repr=False)
    """Signs the records of the release log and the item log, where others can write to their store, and answers'
    receipts; 32 characters or more, the same for all that read or write. Empty: that of `signing.key` in home, which
    `pagoda up` makes."""
    artifacts: str = ""
    """Folder or object-store URL of step outputs and segments. Empty: `artifacts/` below home."""


class AccessSettings(SettingsSection):
    """Who may do what."""

    tokens: str = ""
    """Folder with a file of tokens for each role. Empty: `tokens/` below home, for this installation's recall service
    alone; a folder that is named here is also for a service whose URL a command is given."""


class MilvusSettings(SettingsSection):
    """The vector database."""

    uri: str = ""
    token: str = Field(default="", repr=False)
    timeout_seconds: float = Field(default=10.0, gt=0)
    imports: str = ""
    """Folder of Milvus' own object storage (`s3://bucket/imports`), from which it reads item vectors by itself. Empty:
    they are inserted row by row, some thousands a second."""


class ElasticsearchSettings(SettingsSection):
    """Elasticsearch or OpenSearch, where `index.backend` says so."""

    url: HttpUrl = ""
    """`https://user:password@host:9200`; with an API key, without the user."""
    api_key: str = Field(default="", repr=False)
    """Base64 of an Elasticsearch API key, as it is shown when it is made. Empty: none."""
    dialect: Literal["elasticsearch", "opensearch"] = "elasticsearch"
    """Which of the two it is: they map and search vectors differently."""
    shards: int = Field(default=1, ge=1, le=1024)
    """Of a collection. Each has a graph of its own, and all are searched."""
    replicas: int = Field(default=1, ge=0)
    """Further copies of each shard, once a collection is built."""
    timeout_seconds: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _says_once_who_asks(self) -> Self:
        if self.api_key and "@" in urlsplit(self.url).netloc:
            raise ValueError("api_key is given, and a user in url, too: give one of them")
        return self


class RedisSettings(SettingsSection):
    """The online store of profiles and recent behaviour."""

    url: Annotated[str, one_of("redis", "rediss", "unix")] = ""


class KafkaSettings(SettingsSection):
    """Kafka, which takes events before the stream in Redis does."""

    servers: str = ""
    """`host:port`, several with commas. Empty: there is none."""
    topic: str = "pagoda-events"
    tls: bool = False
    username: str = ""
    """For SASL. Empty: none."""
    password: str = Field(default="", repr=False)
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"


class ItemKafkaSettings(KafkaSettings):
    """Kafka, from which item changes are read, beside those that are posted."""

    topic: str = "pagoda-items"
    group: str = "pagoda-items"
    """Of the consumers that share the topic: one of its own for each installation that reads it."""
